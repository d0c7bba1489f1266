//! Answers to the HTTP calls that a filter made.

use crate::callout::{CallReply, PendingCall};
use crate::calls::Calls;
use crate::host::Host;
use crate::state::Phase;
use crate::trap::Trap;

impl Host {
    /// HTTP calls without an answer, oldest first.
    pub fn pending_calls(&self) -> &[PendingCall] {
        &self.shared.pending
    }

    /// Answers a pending call; an unknown token is passed over. A request that waited for it is looked at again with
    /// [`resume`](Host::resume).
    pub fn reply_to_call(&mut self, token: u32, reply: CallReply) -> Result<(), Trap> {
        let Some(at) = self
            .shared
            .pending
            .iter()
            .position(|call| call.token == token)
        else {
            return Ok(());
        };
        self.shared.recent = Calls::default();
        let call = self.shared.pending.remove(at);
        let reply = reply.seen_by(self.dialect());
        let sizes = (small(reply.headers.len()), small(reply.body.len()));
        let (instance, shared) = self.parts(call.instance)?;
        instance.state_mut().call_reply = Some(reply);
        let arguments = [call.context, token, sizes.0, sizes.1, 0];
        let name = "proxy_on_http_call_response";
        let ran = instance.run(shared, name, Phase::CallResponse, call.context, &arguments);
        instance.state_mut().call_reply = None;
        if let Some(stream) = instance.state_mut().streams.get_mut(&call.context) {
            stream.owed.merge(&shared.recent);
        }
        ran.map(|_| ())
    }
}

fn small(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
