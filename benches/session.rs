//! Programs in sessions of their own, as a service manager starts them.
//!
//! Linux shares out the processors among sessions first (`sched_autogroup_enabled`), as it does among services. In one
//! session with the engine, a server that lets others run before it sleeps waits for all that the engine's threads have to
//! do: inspects through the agent were 1.17 times as fast in a session of its own.

/// What is put in front of a program's name to run it so, on this core if one is given.
pub(crate) fn apart(core: Option<usize>) -> Vec<String> {
    let mut words = vec!["setsid".to_owned()];
    if let Some(core) = core {
        words.extend(["taskset".into(), "-c".into(), core.to_string()]);
    }
    words
}
