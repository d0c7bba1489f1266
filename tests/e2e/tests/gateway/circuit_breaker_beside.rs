//! `docs/circuit_breaker.md`, *Beside Envoy's own*: the example of that section, before two hosts, and
//! what Envoy's retries are counted as.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::backend::{Backend, Fault, Running};
use portcullis_e2e::page::configurations;
use portcullis_e2e::{Answer, Gateway, until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::circuit_breaker::state;
use crate::circuit_breaker_scene::{
    Before, Counts, FAILURE, SUCCESS, closed_port, forward, shown, watched,
};
use crate::common::{SEARCH, assert_problem};

/// The two blocks of the section: Envoy's cluster, and our breaker.
fn example() -> Result<[Value; 2]> {
    configurations("circuit_breaker.md", "## Beside Envoy's own")
}

/// Two hosts, and a gateway before them.
struct Scene {
    gateway: Gateway,
    hosts: [Running; 2],
    sent: Cell<u64>,
}

impl Scene {
    /// With the section's example, but for the hosts' addresses and what a test can't wait for.
    async fn set(edit: impl FnOnce(&mut Value, &mut Value)) -> Result<Self> {
        let hosts = [
            Backend::builder().start().await?,
            Backend::builder().start().await?,
        ];
        let [mut cluster, mut ours] = example()?;
        let endpoints = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
            .as_array_mut()
            .context("there are hosts")?;
        ensure!(endpoints.len() == hosts.len(), "{} hosts", endpoints.len());
        for (endpoint, host) in endpoints.iter_mut().zip(&hosts) {
            let address: SocketAddr = host.addr();
            endpoint["endpoint"]["address"]["socket_address"]["port_value"] = json!(address.port());
        }
        edit(&mut cluster, &mut ours);
        let gateway = Gateway::with("circuit_breaker")
            .workers(4)
            .edit(|bootstrap| {
                *bootstrap.filter("circuit_breaker")? = ours;
                bootstrap.push_cluster(cluster)?;
                // The shipped one, of the same name, has had its day.
                let clusters = bootstrap.at("/static_resources/clusters")?.as_array_mut();
                clusters.context("a list")?[0]["name"] = json!("shipped");
                Ok(())
            });
        Ok(Self {
            gateway: gateway.start().await?,
            hosts,
            sent: Cell::default(),
        })
    }

    async fn get(&self) -> Result<Answer> {
        self.sent.set(self.sent.get() + 1);
        self.gateway.get(SEARCH).await
    }

    fn fail(&self, host: usize) {
        self.hosts[host]
            .faults()
            .set(Fault::status(StatusCode::INTERNAL_SERVER_ERROR));
    }

    async fn ejected(&self) -> Result<Option<u64>> {
        let stat = "cluster.rag.outlier_detection.ejections_active";
        self.gateway.admin().stat(stat).await
    }

    /// Asks until so many hosts are ejected, and all workers know: they are told last.
    async fn until_ejected(&self, hosts: u64) -> Result<()> {
        until("a host to be ejected", async || {
            self.get().await?;
            Ok(self.ejected().await? == Some(hosts))
        })
        .await?;
        let reached = || {
            self.failing()
                .map(|host| host.requests().total())
                .sum::<u64>()
        };
        until("no request to reach what is ejected", async || {
            let before = reached();
            for _ in 0..8 {
                self.get().await?;
            }
            Ok(reached() == before)
        })
        .await
    }

    fn failing(&self) -> impl Iterator<Item = &Running> {
        (self.hosts.iter()).filter(|host| host.faults().current().is_some())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_ejects_one_host_that_fails_and_the_breaker_opens_when_all_do() -> Result<()> {
    let scene = Scene::set(|_, ours| {
        assert_eq!(ours["breakers"][0]["open_for"]["initial"], "10s");
        ours["breakers"][0]["open_for"]["initial"] = json!("500ms");
    })
    .await?;
    let gateway = &scene.gateway;

    // One of two: Envoy's threshold is reached before ours.
    scene.fail(0);
    scene.until_ejected(1).await?;
    for _ in 0..20 {
        assert_eq!(gateway.get(SEARCH).await?.status, 200);
        assert_eq!(state(gateway).await?, "closed");
    }
    let failed = scene.hosts[0].requests().total();
    assert!((3..8).contains(&failed), "{failed}");

    // Both: the other stays in, and ours is reached.
    scene.fail(1);
    for _ in 0..8 {
        assert_eq!(state(gateway).await?, "closed");
        assert_eq!(gateway.get(SEARCH).await?.status, 500);
    }
    let open = shown(gateway).await?;
    assert_eq!(
        (&open["state"], &open["reason"]),
        (&json!("open"), &json!("consecutive_failures"))
    );
    assert_problem(&gateway.get(SEARCH).await?, 503, "circuit-open");
    assert_eq!(scene.ejected().await?, Some(1));
    assert_eq!(scene.hosts[0].requests().total(), failed);

    // The one that is in gets well, and the probe goes to it.
    scene.hosts[1].faults().clear();
    until("the breaker to be half-open", async || {
        Ok(state(gateway).await? == "half_open")
    })
    .await?;
    assert_eq!(gateway.get(SEARCH).await?.status, 200);
    assert_eq!(state(gateway).await?, "closed");
    assert_eq!(scene.hosts[0].requests().total(), failed);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_envoy_refuses_for_its_own_bounds_is_ignored() -> Result<()> {
    const BURST: u64 = 60;
    let scene = Scene::set(|_, _| {}).await?;
    let gateway = &scene.gateway;
    for host in &scene.hosts {
        host.faults().set(Fault::delay(Duration::from_millis(700)));
    }
    let before = Before::of(gateway).await?;
    let mut requests = JoinSet::new();
    for _ in 0..BURST {
        let request = gateway.request(Method::GET, SEARCH);
        requests.spawn(Answer::to(request));
    }
    let (mut answered, mut held_back) = (0, 0);
    while let Some(answer) = requests.join_next().await {
        let answer = answer??;
        match (answer.status, answer.header("x-envoy-overloaded")) {
            (200, None) => answered += 1,
            (503, Some("true")) => held_back += 1,
            _ => panic!("{answer:?}"),
        }
    }
    // Up to 20 on their way and 10 that wait; four workers may grant more at the same moment, and as
    // long as the connections are not made, all of them wait.
    assert!((10..=40).contains(&answered), "{answered} were answered");
    let counts = before.until_counted(gateway, BURST).await?;
    assert_eq!(counts, Counts::of(answered, 0, held_back));
    assert_eq!(state(gateway).await?, "closed");
    Ok(())
}

/// What Envoy does where nothing is said of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hosts_ten_percent_are_none() -> Result<()> {
    let scene = Scene::set(|cluster, _| {
        let detection = cluster["outlier_detection"].as_object_mut();
        detection.and_then(|detection| detection.remove("max_ejection_percent"));
    })
    .await?;
    scene.fail(0);
    until("a host to fail far more often than it may", async || {
        scene.gateway.get(SEARCH).await?;
        Ok(scene.hosts[0].requests().total() >= 12)
    })
    .await?;
    assert_eq!(scene.ejected().await?, Some(0));
    assert_eq!(state(&scene.gateway).await?, "closed");
    Ok(())
}

/// With no host left and no panic, it is Envoy that answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_healthy_host_is_a_failure() -> Result<()> {
    let scene = Scene::set(|cluster, ours| {
        ours["breakers"][0]["trip"] = json!({ "consecutive_failures": 100 });
        assert_eq!(cluster["outlier_detection"]["max_ejection_percent"], 50);
        cluster["outlier_detection"]["max_ejection_percent"] = json!(100);
        // Else the workers hear of the second ejection a second after the first.
        cluster["common_lb_config"] =
            json!({ "healthy_panic_threshold": { "value": 0 }, "update_merge_window": "0s" });
    })
    .await?;
    let gateway = &scene.gateway;
    let before = Before::of(gateway).await?;
    scene.fail(0);
    scene.fail(1);
    scene.until_ejected(2).await?;
    for _ in 0..10 {
        let answer = scene.get().await?;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (503, "no healthy upstream")
        );
    }
    // Three of each, what was on its way, and what found no host.
    let reached = scene
        .failing()
        .map(|host| host.requests().total())
        .sum::<u64>();
    assert!(reached >= 6, "{reached}");
    let sent = scene.sent.get();
    let counts = before.until_counted(gateway, sent).await?;
    assert_eq!(counts, Counts::of(0, sent, 0));
    assert_eq!(state(gateway).await?, "closed");
    Ok(())
}

/// Envoy tries again by itself; the breaker sees what came of it in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_was_answered_is_one_success() -> Result<()> {
    const HALF: &str = "/api/v1/rag/collections";
    let backend = Backend::builder().start().await?;
    let (_held, refused) = closed_port()?;
    let gateway = Gateway::with("circuit_breaker")
        .workers(4)
        .edit(|bootstrap| {
            watched(bootstrap)?;
            bootstrap.add_cluster("whole", &[backend.addr()])?;
            bootstrap.add_cluster("half", &[refused, backend.addr()])?;
            for (path, cluster) in [("/", "whole"), (HALF, "half")] {
                let mut route = forward(path, cluster);
                route["route"]["retry_policy"] = json!({
                    "retry_on": "5xx,connect-failure",
                    "num_retries": 3,
                    "retry_back_off": { "base_interval": "0.001s" },
                });
                bootstrap.add_route(route)?;
            }
            Ok(())
        });
    let gateway = gateway.start().await?;
    for (fault, status, expected) in [
        (
            Fault::status(StatusCode::SERVICE_UNAVAILABLE).times(1),
            200,
            SUCCESS,
        ),
        (Fault::drop_connection().times(2), 200, SUCCESS),
        // As often as it tries.
        (
            Fault::status(StatusCode::BAD_GATEWAY).times(4),
            502,
            FAILURE,
        ),
    ] {
        let before = Before::of(&gateway).await?;
        backend.faults().set(fault.clone());
        assert_eq!(gateway.get(SEARCH).await?.status, status, "{fault:?}");
        assert_eq!(
            before.until_settled(&gateway, 1).await?.counts,
            expected,
            "{fault:?}"
        );
    }
    let before = Before::of(&gateway).await?;
    for _ in 0..8 {
        assert_eq!(gateway.get(HALF).await?.status, 200);
    }
    assert_eq!(
        before.until_settled(&gateway, 8).await?.counts,
        Counts::of(8, 0, 0)
    );
    // Each worker turns to one host after the other, and some got two requests.
    let failed = gateway
        .admin()
        .stat("cluster.half.upstream_cx_connect_fail")
        .await?;
    assert!(failed > Some(0), "{failed:?}");
    Ok(())
}
