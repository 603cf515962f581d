//! The cursors of streams of many logs.

use super::{Client, assert_same};
use crate::contract::host::{Host, text};
use crate::metrics::samples::becomes;
use crate::support::agent::Agent;
use crate::support::dockerd::RealEngine;
use crate::support::wait::SOON;

const GAPS: &str = "docker_ps_agent_log_gaps_total";

#[tokio::test]
async fn goes_on_where_it_was_in_the_midst_of_what_was_written_before() {
    let host = Host::start().await;
    let label = ["--label", "many=midst"];
    host.ran("midst-a", &label, "echo a1; echo a2; echo a3")
        .await;
    let script = "for i in $(seq 300); do echo b $i; done";
    host.ran("midst-b", &label, script).await;
    let path = "/logs/stream?label=many%3Dmidst&tail=5";
    let mut whole = Client::default();
    let mut stream = whole.open(&host.agent, path).await;
    whole.take(&mut stream, 8).await;
    assert_eq!(text(&whole.lines[3]), "b 296");
    for cut in 1..8 {
        let mut client = Client::default();
        // Also where it leaves again before the second container's turn.
        for many in [1, cut - 1, 1, 8] {
            let left = 8 - client.lines.len();
            let mut stream = client.open(&host.agent, path).await;
            client.take(&mut stream, many.min(left)).await;
        }
        assert_same(&client.lines, &whole.lines, &format!("cut {cut}"));
        assert_eq!(client.gaps, 0);
    }
    for name in ["midst-a", "midst-b"] {
        host.engine.remove(name).await;
    }
}

#[tokio::test]
async fn refuses_cursors_of_containers_that_are_not_wanted() {
    let host = Host::start().await;
    for name in ["foreign-a", "foreign-b"] {
        host.ran(name, &[], "echo one; echo two").await;
    }
    let mut client = Client::default();
    let both = "/logs/stream?container=foreign-a&container=foreign-b";
    let mut stream = client.open(&host.agent, both).await;
    client.take(&mut stream, 1).await;
    let cursor = client.cursor.clone().unwrap();
    let one = "/logs/stream?container=foreign-a";
    for after in [cursor.clone(), format!("{cursor},{cursor}")] {
        let path = format!("{one}&after={after}");
        assert_eq!(host.agent.get(&path).await.status, 400, "{path}");
    }
    let twice = format!("{both}&after={cursor},{cursor}");
    assert_eq!(host.agent.get(&twice).await.status, 400);
    // Of one that is gone nobody can say what is missing.
    host.engine.remove("foreign-b").await;
    let mut stream = client.open(&host.agent, one).await;
    client.take(&mut stream, 1).await;
    assert_eq!(client.gaps, 1);
    becomes(&host.agent, GAPS, &[], 1.0).await;
    host.engine.remove("foreign-a").await;
}

#[tokio::test]
async fn goes_on_after_the_agent_was_killed() {
    let engine = RealEngine::shared().await;
    let builder = Agent::builder().docker_host(engine.docker_host());
    let names = ["killed-a", "killed-b"];
    let script = "i=0; while :; do echo $HOSTNAME $i; i=$((i+1)); sleep 0.01; done";
    for name in names {
        let options = ["--hostname", name, "--label", "many=killed"];
        engine.run(name, &options, script).await;
    }
    let path = "/logs/stream?label=many%3Dkilled&tail=all";
    let mut client = Client::default();
    for _ in 0..3 {
        let agent = builder.start().await;
        let mut stream = client.open(&agent, path).await;
        client.take(&mut stream, 100).await;
        agent.kill9();
        agent.wait_exit(SOON).await;
    }
    assert_eq!(client.gaps, 0);
    for name in names {
        let lines = client.lines.iter().map(|line| text(line).to_owned());
        let seen: Vec<_> = lines.filter(|line| line.starts_with(name)).collect();
        let wanted: Vec<_> = (0..seen.len()).map(|n| format!("{name} {n}")).collect();
        assert_same(&seen, &wanted, name);
        engine.remove(name).await;
    }
}
