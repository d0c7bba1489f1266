//! The four policies in their order.

use std::collections::BTreeSet;

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_jwt_auth::{JwtAuth, ready};
use portcullis_policy::config::{Claims, ConfigError};
use portcullis_policy::{
    Answer, BodyEnd, CallId, CallReply, Command, Control, Controlled, Ending, Failed, HostFailure,
    HttpCall, LocalReply, Policy, Ports, Problem, Request, RequestEdits, Response, ResponseEdits,
    Setup, Span, Verdict, colliding,
};
use portcullis_rate_limit::{Asked, Beside, RateLimit, Stage, UNAVAILABLE};
use portcullis_service_token::ServiceToken;

use crate::Config;

/// The `edge` filter's policy.
pub struct Edge {
    jwt_auth: Option<JwtAuth>,
    rate_limit: Option<RateLimit>,
    circuit_breaker: Option<CircuitBreaker>,
    service_token: Option<ServiceToken>,
    ready_path: Option<String>,
    control: Option<Control>,
}

/// One request's state in each policy that has seen it.
#[derive(Default)]
pub struct Flow {
    rate_limit: portcullis_rate_limit::Flow,
    circuit_breaker: Option<<CircuitBreaker as Policy>::Flow>,
    /// What is known of it while its body, or a call, is waited for.
    waiting: Option<Box<Waiting>>,
}

/// What is known of a request before the limits are asked that its caller has.
struct Waiting {
    caller: Option<<JwtAuth as Policy>::Flow>,
    edits: RequestEdits<'static>,
    bound: Option<u64>,
}

impl Flow {
    /// Keeps what is known of a request while its body, or a call, is waited for.
    fn wait(
        &mut self,
        caller: Option<<JwtAuth as Policy>::Flow>,
        edits: RequestEdits<'_>,
        bound: Option<u64>,
    ) {
        self.waiting = Some(Box::new(Waiting {
            caller,
            edits: edits.into_owned(),
            bound,
        }));
    }
}

impl Edge {
    /// What judges tokens, where that is configured.
    #[must_use]
    pub const fn jwt_auth(&self) -> Option<&JwtAuth> {
        self.jwt_auth.as_ref()
    }

    /// What counts requests, where that is configured.
    #[must_use]
    pub const fn rate_limit(&self) -> Option<&RateLimit> {
        self.rate_limit.as_ref()
    }

    fn ask_limits(
        &self,
        stage: Stage,
        request: &Request<'_>,
        claims: Option<&dyn Claims>,
        flow: &mut Flow,
        ports: &Ports<'_>,
    ) -> Result<Asked, LocalReply> {
        match &self.rate_limit {
            None => Ok(Asked::Admitted),
            Some(limits) => limits.ask(stage, request, claims, &mut flow.rate_limit, ports),
        }
    }

    /// Whether this gateway has all keys, for whoever asks at the path for that. It is no request of a
    /// client's: no limit counts it.
    fn answer_ready(&self, request: &Request<'_>, ports: &Ports<'_>) -> Option<LocalReply> {
        let Some(path) = &self.ready_path else {
            return self.jwt_auth.as_ref()?.answer_ready(request, ports);
        };
        let asked = ready::is_for(path, request);
        asked.then(|| match &self.jwt_auth {
            Some(jwt_auth) => jwt_auth.ready(ports),
            None => ready::answer(std::iter::empty()),
        })
    }

    /// Another plugin's answer, with where the client stands with the limits that counted it.
    fn shown(&self, reply: LocalReply, flow: &mut Flow) -> LocalReply {
        match &self.rate_limit {
            None => reply,
            Some(limits) => limits.show(&mut flow.rate_limit, reply),
        }
    }

    fn decide<'a>(
        &'a self,
        request: &'a Request<'a>,
        flow: &mut Flow,
        ports: &Ports<'_>,
    ) -> Result<Verdict<'a>, LocalReply> {
        let mut edits = RequestEdits::none();
        let bound = match &self.rate_limit {
            None => None,
            Some(limits) => limits.bound(request, ports)?,
        };
        match self.ask_limits(Stage::BeforeAuth, request, None, flow, ports)? {
            Asked::Admitted => {}
            // No limit of this stage does: its configuration is refused.
            Asked::Read { .. } | Asked::Wait { .. } => {
                return Err(Problem::UNAVAILABLE.reply(request));
            }
        }
        let caller = match &self.jwt_auth {
            None => None,
            Some(jwt_auth) => {
                let (verdict, caller) = jwt_auth.on_request(request, ports);
                edits.extend(self.passed(verdict, flow, ports)?);
                Some(caller)
            }
        };
        let claims = caller.as_ref().map(|caller| caller as &dyn Claims);
        match self.ask_limits(Stage::AfterAuth, request, claims, flow, ports)? {
            Asked::Admitted => self.decide_admitted(request, claims, edits, bound, flow, ports),
            Asked::Read { most } => {
                flow.wait(caller, edits, bound);
                Ok(Verdict::Read { most })
            }
            Asked::Wait { longest } => {
                flow.wait(caller, edits, bound);
                Ok(Verdict::Wait { longest })
            }
        }
    }

    /// Decides on a request whose body, or a call, was waited for.
    fn decide_later<'a>(
        &'a self,
        request: &'a Request<'a>,
        flow: &mut Flow,
        ports: &Ports<'_>,
    ) -> Result<Verdict<'a>, LocalReply> {
        let Some(waiting) = flow.waiting.take() else {
            return Err(Problem::UNAVAILABLE.reply(request));
        };
        let Waiting {
            caller,
            edits,
            bound,
        } = *waiting;
        let claims = caller.as_ref().map(|caller| caller as &dyn Claims);
        match self.ask_limits(Stage::AfterAuth, request, claims, flow, ports)? {
            Asked::Admitted => self.decide_admitted(request, claims, edits, bound, flow, ports),
            Asked::Wait { longest } => {
                flow.wait(caller, edits, bound);
                Ok(Verdict::Wait { longest })
            }
            Asked::Read { .. } => Err(Problem::UNAVAILABLE.reply(request)),
        }
    }

    /// Decides on a request whose body was waited for.
    fn decide_read<'a>(
        &'a self,
        request: &'a Request<'a>,
        flow: &mut Flow,
        end: BodyEnd,
        ports: &Ports<'_>,
    ) -> Result<Verdict<'a>, LocalReply> {
        let Some(limits) = &self.rate_limit else {
            return Err(Problem::UNAVAILABLE.reply(request));
        };
        limits.end_reading(&mut flow.rate_limit, end, request, ports)?;
        self.decide_later(request, flow, ports)
    }

    /// Decides on a request that all limits have admitted. `edits`: what is to be changed so far.
    fn decide_admitted<'a>(
        &'a self,
        request: &'a Request<'a>,
        claims: Option<&dyn Claims>,
        mut edits: RequestEdits<'a>,
        bound: Option<u64>,
        flow: &mut Flow,
        ports: &Ports<'_>,
    ) -> Result<Verdict<'a>, LocalReply> {
        if let Some(limits) = &self.rate_limit {
            limits.guard(request, &mut edits);
        }
        if let Some(circuit_breaker) = &self.circuit_breaker {
            circuit_breaker.guard(request, &mut edits);
        }
        if let Some(limits) = &self.rate_limit {
            edits.extend(limits.edits(request, &mut flow.rate_limit, bound));
        }
        let mut injected = None;
        if let Some(service_token) = &self.service_token {
            let (verdict, counter) = service_token.decide(request, claims, &edits, ports);
            edits.extend(self.passed(verdict, flow, ports)?);
            injected = counter;
        }
        if let Some(circuit_breaker) = &self.circuit_breaker {
            let (verdict, admitted) = circuit_breaker.ask(request, ports);
            flow.circuit_breaker = Some(admitted);
            edits.extend(self.passed(verdict, flow, ports)?);
        }
        if let Some(injected) = injected {
            ports.telemetry.count(injected);
        }
        Ok(Verdict::Continue(edits))
    }

    /// A request that another plugin refuses since the gateway can't serve it is not its client's fault.
    fn passed<'a>(
        &self,
        verdict: Verdict<'a>,
        flow: &mut Flow,
        ports: &Ports<'_>,
    ) -> Result<RequestEdits<'a>, LocalReply> {
        match verdict {
            Verdict::Continue(edits) => Ok(edits),
            // None of the others reads bodies.
            Verdict::Read { .. } | Verdict::Wait { .. } => Err(Problem::UNAVAILABLE.reply_blind()),
            Verdict::Refuse(reply) => {
                if let Some(limits) = &self.rate_limit {
                    if reply.status == UNAVAILABLE {
                        limits.return_unserved(&mut flow.rate_limit, ports);
                    }
                    limits.unsent(&mut flow.rate_limit, ports);
                    limits.answered(&mut flow.rate_limit, reply.status, None, ports);
                }
                Err(self.shown(reply, flow))
            }
        }
    }
}

impl Policy for Edge {
    const NAME: &'static str = "edge";
    type Config = Config;
    type Flow = Flow;

    fn from_config(config: Config, setup: &mut Setup<'_>) -> Result<Self, ConfigError> {
        let in_jwt_auth = config
            .jwt_auth
            .as_ref()
            .and_then(|config| config.ready.as_ref());
        if config.ready.is_some() && in_jwt_auth.is_some() {
            let rule = "it stands in `jwt_auth` too; expected it in one of the two places";
            return Err(ConfigError::at("ready", rule));
        }
        let ready_path = config.ready.map(|ready| ready.path.as_str().to_owned());
        let of_one = [
            (JwtAuth::NAME, config.jwt_auth.as_ref().map(|c| &c.control)),
            (
                RateLimit::NAME,
                config.rate_limit.as_ref().map(|c| &c.control),
            ),
            (
                CircuitBreaker::NAME,
                config.circuit_breaker.as_ref().map(|c| &c.control),
            ),
        ];
        if let Some((plugin, _)) = of_one.iter().find(|(_, c)| matches!(c, Some(Some(_)))) {
            let rule = "in edge it stands beside the plugins, and is for all of them";
            return Err(ConfigError::at(format!("{plugin}.control"), rule));
        }
        let control = config
            .control
            .map(|control| Control::new(control, Self::NAME, setup));
        let control = control.transpose()?;
        let jwt_auth = config.jwt_auth.map(|config| {
            JwtAuth::from_config(config, setup).map_err(|error| error.within(JwtAuth::NAME))
        });
        let has_claims = jwt_auth.is_some();
        let mut jwt_auth = jwt_auth.transpose()?;
        if let (Some(jwt_auth), Some(control)) = (&mut jwt_auth, &control) {
            jwt_auth.name_callers(control.names());
        }
        let beside = Beside {
            claims: has_claims,
            control: control.is_some(),
        };
        let rate_limit = config.rate_limit.map(|config| {
            RateLimit::for_edge(config, beside, setup)
                .map_err(|error| error.within(RateLimit::NAME))
        });
        let rate_limit = rate_limit.transpose()?;
        let circuit_breaker = config.circuit_breaker.map(|config| {
            CircuitBreaker::from_config(config, setup)
                .map_err(|error| error.within(CircuitBreaker::NAME))
        });
        let circuit_breaker = circuit_breaker.transpose()?;
        let service_token = config.service_token.map(|config| {
            ServiceToken::from_config(config, setup)
                .map_err(|error| error.within(ServiceToken::NAME))
        });
        let service_token = service_token.transpose()?;
        if has_claims
            && service_token
                .as_ref()
                .is_some_and(ServiceToken::wants_caller_header)
        {
            let rule = "not a key beside jwt_auth in edge, which knows the caller";
            let at = "service_token.credential.caller_header";
            return Err(ConfigError::at(at, rule));
        }
        if let (Some(control), Some(service_token)) = (&control, &service_token)
            && control.shares_token(|token| service_token.sends(token))
        {
            let rule = "every backend is shown it by service_token; expected a secret of its own";
            return Err(ConfigError::at("control.token", rule));
        }
        let edge = Self {
            jwt_auth,
            rate_limit,
            circuit_breaker,
            service_token,
            ready_path,
            control,
        };
        edge.check()?;
        Ok(edge)
    }

    fn prepare(&self, ports: &Ports<'_>) {
        if let Some(jwt_auth) = &self.jwt_auth {
            jwt_auth.prepare(ports);
        }
        if let Some(rate_limit) = &self.rate_limit {
            rate_limit.prepare(ports);
        }
        if let Some(circuit_breaker) = &self.circuit_breaker {
            circuit_breaker.prepare(ports);
        }
        if let Some(service_token) = &self.service_token {
            service_token.prepare(ports);
        }
    }

    /// As often as the one that needs it most often.
    fn tick_every(&self) -> Span {
        let of_keys = self.jwt_auth.as_ref().map(JwtAuth::tick_every);
        let of_breakers = self
            .circuit_breaker
            .as_ref()
            .map(CircuitBreaker::tick_every);
        let of_limits = self.rate_limit.as_ref().map(RateLimit::tick_every);
        let shortest = of_keys
            .into_iter()
            .chain(of_breakers)
            .chain(of_limits)
            .min();
        shortest.unwrap_or(Span::from_secs(1))
    }

    fn on_tick(&self, ports: &Ports<'_>) {
        if let Some(jwt_auth) = &self.jwt_auth {
            jwt_auth.on_tick(ports);
        }
        if let Some(circuit_breaker) = &self.circuit_breaker {
            circuit_breaker.on_tick(ports);
        }
        if let Some(rate_limit) = &self.rate_limit {
            rate_limit.on_tick(ports);
        }
    }

    fn fetches(&self) -> bool {
        self.jwt_auth.as_ref().is_some_and(JwtAuth::fetches)
            || self.rate_limit.as_ref().is_some_and(RateLimit::fetches)
    }

    fn next_call(&self, ports: &Ports<'_>) -> Option<(CallId, HttpCall)> {
        let of_keys = self.jwt_auth.as_ref();
        let of_keys = of_keys.and_then(|jwt_auth| jwt_auth.next_call(ports));
        of_keys.or_else(|| self.rate_limit.as_ref()?.next_call(ports))
    }

    fn is_urgent(&self) -> bool {
        self.rate_limit.as_ref().is_some_and(RateLimit::is_urgent)
    }

    fn take_wanted(&self) -> Vec<CallId> {
        let jwt_auth = self.jwt_auth.as_ref();
        let mut wanted = jwt_auth.map_or(Vec::new(), Policy::take_wanted);
        let rate_limit = self.rate_limit.as_ref();
        wanted.extend(rate_limit.map_or(Vec::new(), Policy::take_wanted));
        wanted
    }

    fn want(&self, call: CallId, ports: &Ports<'_>) {
        if let Some(jwt_auth) = &self.jwt_auth {
            Policy::want(jwt_auth, call, ports);
        }
        if let Some(rate_limit) = &self.rate_limit {
            rate_limit.want(call, ports);
        }
    }

    fn on_idle(&self, ports: &Ports<'_>) {
        if let Some(circuit_breaker) = &self.circuit_breaker {
            circuit_breaker.on_idle(ports);
        }
        if let Some(rate_limit) = &self.rate_limit {
            rate_limit.on_idle(ports);
        }
    }

    fn tells_with_ticks(&self) -> bool {
        self.rate_limit
            .as_ref()
            .is_some_and(RateLimit::tells_with_ticks)
            || self
                .circuit_breaker
                .as_ref()
                .is_some_and(CircuitBreaker::tells_with_ticks)
    }

    fn on_call_end(&self, call: CallId, reply: &dyn CallReply, ports: &Ports<'_>) {
        match (&self.jwt_auth, &self.rate_limit) {
            (_, Some(rate_limit)) if RateLimit::made(call) => {
                rate_limit.on_call_end(call, reply, ports);
            }
            (Some(jwt_auth), _) => jwt_auth.on_call_end(call, reply, ports),
            (None, _) => {}
        }
    }

    fn hold<'a>(&'a self, request: &'a Request<'a>, ports: &Ports<'_>) -> Option<Span> {
        // Where nothing is held, no request pays for the question.
        let jwt_auth = self.jwt_auth.as_ref().filter(|jwt_auth| jwt_auth.holds())?;
        let ready = self.ready_path.as_deref();
        let is_own = ready.is_some_and(|path| ready::is_for(path, request))
            || self
                .control
                .as_ref()
                .is_some_and(|control| control.is_for(request));
        match is_own {
            true => None,
            false => jwt_auth.hold(request, ports),
        }
    }

    fn on_held(&self, ports: &Ports<'_>) {
        if let Some(jwt_auth) = &self.jwt_auth {
            jwt_auth.on_held(ports);
        }
    }

    fn on_request<'a>(
        &'a self,
        request: &'a Request<'a>,
        ports: &Ports<'_>,
    ) -> (Verdict<'a>, Flow) {
        let mut flow = Flow::default();
        if let Some(reply) = self.answer_ready(request, ports) {
            return (Verdict::Refuse(reply), flow);
        }
        if let Some(control) = &self.control
            && let Some(reply) = control.answer(request, self, ports)
        {
            return (Verdict::Refuse(reply), flow);
        }
        let verdict = self.decide(request, &mut flow, ports);
        (verdict.unwrap_or_else(Verdict::Refuse), flow)
    }

    fn on_request_waited<'a>(
        &'a self,
        request: &'a Request<'a>,
        flow: &mut Flow,
        is_last: bool,
        ports: &Ports<'_>,
    ) -> Verdict<'a> {
        RateLimit::end_waiting(&mut flow.rate_limit, is_last);
        let verdict = self.decide_later(request, flow, ports);
        verdict.unwrap_or_else(Verdict::Refuse)
    }

    fn reads_requests(&self) -> bool {
        self.rate_limit
            .as_ref()
            .is_some_and(RateLimit::reads_requests)
    }

    fn on_request_bytes(&self, flow: &mut Flow, bytes: &[u8]) {
        if let Some(limits) = &self.rate_limit {
            limits.take_bytes(&mut flow.rate_limit, bytes);
        }
    }

    fn on_request_read<'a>(
        &'a self,
        request: &'a Request<'a>,
        flow: &mut Flow,
        end: BodyEnd,
        ports: &Ports<'_>,
    ) -> Verdict<'a> {
        let verdict = self.decide_read(request, flow, end, ports);
        verdict.unwrap_or_else(Verdict::Refuse)
    }

    fn reads_response(&self, flow: &Flow) -> bool {
        let watched = self
            .circuit_breaker
            .as_ref()
            .zip(flow.circuit_breaker.as_ref());
        RateLimit::reads_answer(&flow.rate_limit)
            || watched.is_some_and(|(breaker, flow)| breaker.reads_response(flow))
    }

    fn on_response_bytes(&self, flow: &mut Flow, bytes: Option<&[u8]>, ports: &Ports<'_>) {
        if let Some(limits) = &self.rate_limit {
            limits.take_answer(&mut flow.rate_limit, bytes);
        }
        if let (Some(breaker), Some(flow)) = (&self.circuit_breaker, &mut flow.circuit_breaker) {
            breaker.on_response_bytes(flow, bytes, ports);
        }
    }

    fn trims_response(&self, flow: &Flow) -> bool {
        RateLimit::trims_answer(&flow.rate_limit)
    }

    fn trim_response(
        &self,
        flow: &mut Flow,
        bytes: &[u8],
        ends: bool,
        passing: &mut Vec<u8>,
    ) -> bool {
        RateLimit::trim_answer(&mut flow.rate_limit, bytes, ends, passing)
    }

    fn on_request_sent(&self, flow: &mut Flow, ports: &Ports<'_>) {
        if let (Some(breaker), Some(flow)) = (&self.circuit_breaker, &mut flow.circuit_breaker) {
            breaker.on_request_sent(flow, ports);
        }
    }

    fn on_response_whole(&self, flow: &mut Flow) {
        if let (Some(breaker), Some(flow)) = (&self.circuit_breaker, &mut flow.circuit_breaker) {
            breaker.on_response_whole(flow);
        }
    }

    fn observes_ends(&self) -> bool {
        self.circuit_breaker
            .as_ref()
            .is_some_and(CircuitBreaker::observes_ends)
            || self
                .rate_limit
                .as_ref()
                .is_some_and(RateLimit::observes_ends)
    }

    fn writes_response_headers(&self) -> bool {
        self.rate_limit
            .as_ref()
            .is_some_and(RateLimit::writes_response_headers)
    }

    fn on_response<'a>(
        &'a self,
        flow: &'a mut Flow,
        response: &dyn Response,
        ports: &Ports<'_>,
    ) -> ResponseEdits<'a> {
        let mut edits = ResponseEdits::none();
        if let (Some(breaker), Some(flow)) = (&self.circuit_breaker, &mut flow.circuit_breaker) {
            edits.extend(breaker.on_response(flow, response, ports));
        }
        if let Some(rate_limit) = &self.rate_limit {
            edits.extend(rate_limit.on_response(&mut flow.rate_limit, response, ports));
        }
        edits
    }

    fn on_end(&self, flow: &mut Flow, ending: &dyn Ending, ports: &Ports<'_>) {
        if let (Some(breaker), Some(flow)) = (&self.circuit_breaker, &mut flow.circuit_breaker) {
            breaker.on_end(flow, ending, ports);
        }
        if let Some(rate_limit) = &self.rate_limit {
            rate_limit.end(&mut flow.rate_limit, ending, ports);
        }
    }

    fn on_host_failure(&self, failure: HostFailure, ports: &Ports<'_>) -> Option<LocalReply> {
        // Each plugin counts it; one that refuses is enough.
        let refusals = [
            self.jwt_auth
                .as_ref()
                .and_then(|policy| policy.on_host_failure(failure, ports)),
            self.rate_limit
                .as_ref()
                .and_then(|policy| policy.on_host_failure(failure, ports)),
            self.circuit_breaker
                .as_ref()
                .and_then(|policy| policy.on_host_failure(failure, ports)),
            self.service_token
                .as_ref()
                .and_then(|policy| policy.on_host_failure(failure, ports)),
        ];
        refusals.into_iter().flatten().next()
    }
}

impl Edge {
    fn check(&self) -> Result<(), ConfigError> {
        if let (None, None, None, None) = (
            &self.jwt_auth,
            &self.rate_limit,
            &self.circuit_breaker,
            &self.service_token,
        ) {
            let names = "jwt_auth, rate_limit, circuit_breaker, service_token";
            return Err(ConfigError::at(
                "",
                format!("nothing is configured; expected one of {names}"),
            ));
        }
        if let Some(control) = &self.control {
            let of_keys = self.jwt_auth.as_ref().and_then(JwtAuth::ready_path);
            for path in self.ready_path.as_deref().into_iter().chain(of_keys) {
                control.check_apart("ready", path)?;
            }
            let of_breakers = self
                .circuit_breaker
                .as_ref()
                .and_then(CircuitBreaker::status_path);
            if let Some(path) = of_breakers {
                control.check_apart("circuit_breaker.status", path)?;
            }
        }
        let limits = self
            .rate_limit
            .iter()
            .flat_map(RateLimit::slot_names)
            .collect::<Vec<_>>();
        let limits = limits.iter().map(String::as_str);
        let keys: BTreeSet<_> = self.jwt_auth.iter().flat_map(JwtAuth::slot_names).collect();
        let breakers = self
            .circuit_breaker
            .iter()
            .flat_map(CircuitBreaker::slot_names);
        let workers = self.service_token.iter().flat_map(ServiceToken::slot_names);
        match colliding(limits.chain(keys).chain(breakers).chain(workers)) {
            None => Ok(()),
            Some((one, other)) => Err(ConfigError::at(
                "",
                format!(
                    "Kong can't tell the slots {one:?} and {other:?}; rename the breaker or the limit, or change another name or address of one of them"
                ),
            )),
        }
    }
}

impl Controlled for Edge {
    /// The plugin answers that a command is about. The state is that of all, also where one can't tell its own.
    fn carry_out(&self, command: &Command, ports: &Ports<'_>) -> Option<Result<Answer, Failed>> {
        let jwt_auth = self
            .jwt_auth
            .as_ref()
            .map(|p| (JwtAuth::NAME, p as &dyn Controlled));
        let rate_limit = self.rate_limit.as_ref();
        let rate_limit = rate_limit.map(|p| (RateLimit::NAME, p as &dyn Controlled));
        let breakers = self.circuit_breaker.as_ref();
        let breakers = breakers.map(|p| (CircuitBreaker::NAME, p as &dyn Controlled));
        let plugins = jwt_auth.into_iter().chain(rate_limit).chain(breakers);
        let mut answers = plugins.filter_map(|(name, plugin)| {
            let answer = plugin.carry_out(command, ports)?;
            Some((name, answer))
        });
        if *command != Command::State {
            return answers.next().map(|(_, answer)| answer);
        }
        let mut all = Answer::default();
        for (name, answer) in answers {
            let answer = answer.unwrap_or_else(|failed| Answer::of(name, failed.shown()));
            all.shown.extend(answer.shown);
        }
        Some(Ok(all))
    }
}
