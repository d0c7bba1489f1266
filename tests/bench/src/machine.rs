//! The machine: which cores there are, who runs on which, and what it is.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The cores that this program may use, shared out: the load must neither hold up nor warm what is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    all: Vec<usize>,
}

impl Cores {
    /// Those of this process. None, if the system does not tell.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self {
            all: system::cores(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Those for a gateway of so many workers. Empty where there is no choice.
    #[must_use]
    pub fn of_gateway(&self, workers: u32) -> &[usize] {
        match self.all.len() {
            0 | 1 => &[],
            count => {
                let wanted = usize::try_from(workers).unwrap_or(usize::MAX);
                self.all.get(..wanted.min(count)).unwrap_or_default()
            }
        }
    }

    /// That of the load and the upstream. Empty where there is no choice.
    #[must_use]
    pub fn of_load(&self) -> &[usize] {
        match self.all.as_slice() {
            [_, .., last] => std::slice::from_ref(last),
            _ => &[],
        }
    }
}

/// Keeps this thread, and what it starts from now on, on these cores. Empty: wherever it is.
///
/// # Errors
/// The system refuses.
pub fn stay_on(cores: &[usize]) -> Result<()> {
    if !cores.is_empty() {
        system::pin(None, cores).context("can't choose a core")?;
    }
    Ok(())
}

/// Keeps all threads of a process, and those that they start, on these cores. Empty: wherever they are.
///
/// # Errors
/// The system refuses.
pub fn keep_on(pid: u32, cores: &[usize]) -> Result<()> {
    if cores.is_empty() {
        return Ok(());
    }
    for task in tasks(pid)? {
        let thread = task
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        let thread = thread.context("a thread without a number")?;
        // One that has just ended needs no core.
        if let Err(error) = system::pin(Some(thread), cores)
            && task.exists()
        {
            return Err(error).context("can't choose a gateway's core");
        }
    }
    Ok(())
}

/// This process ends when the one that started it does, however that comes about.
pub fn end_with_parent() {
    system::end_with_parent();
}

/// What all threads of a process have computed so far: to the nanosecond, unlike the ticks of `/proc/<pid>/stat`. Of a
/// thread that sleeps it is exact.
///
/// # Errors
/// There is no such process, or no Linux.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for task in tasks(pid)? {
        let schedstat = match fs::read_to_string(task.join("schedstat")) {
            Ok(schedstat) => schedstat,
            // A thread that has ended meanwhile: V8's compilers do.
            Err(_) if !task.exists() => continue,
            Err(error) => return Err(error.into()),
        };
        let nanos = schedstat
            .split(' ')
            .next()
            .and_then(|nanos| nanos.parse().ok());
        total += Duration::from_nanos(nanos.context("an unknown form of schedstat")?);
    }
    Ok(total)
}

/// The processor, as it calls itself.
#[must_use]
pub fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = info.lines().find(|line| line.starts_with("model name"));
    let name = named.and_then(|line| line.split_once(':'));
    name.map_or_else(
        || "an unknown processor".to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

fn tasks(pid: u32) -> Result<Vec<PathBuf>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .context("CPU time is measured by Linux's /proc")?;
    let paths = tasks.map(|task| task.map(|task| task.path()));
    Ok(paths.collect::<Result<_, _>>()?)
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use rustix::process::{Pid, Signal, set_parent_process_death_signal};
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    pub(super) fn cores() -> Vec<usize> {
        let Ok(allowed) = sched_getaffinity(None) else {
            return Vec::new();
        };
        (0..CpuSet::MAX_CPU)
            .filter(|core| allowed.is_set(*core))
            .collect()
    }

    pub(super) fn pin(thread: Option<i32>, cores: &[usize]) -> io::Result<()> {
        let mut set = CpuSet::new();
        for core in cores {
            set.set(*core);
        }
        Ok(sched_setaffinity(thread.and_then(Pid::from_raw), &set)?)
    }

    pub(super) fn end_with_parent() {
        // An error leaves it as any other process.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    pub(super) fn cores() -> Vec<usize> {
        Vec::new()
    }

    pub(super) fn pin(_thread: Option<i32>, _cores: &[usize]) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn end_with_parent() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_and_load_share_no_core_where_there_are_two() {
        let cores = |all: &[usize]| Cores { all: all.to_vec() };
        let two = cores(&[0, 1]);
        assert_eq!((two.of_gateway(1), two.of_load()), (&[0][..], &[1][..]));
        let four = cores(&[2, 3, 6, 7]);
        assert_eq!(
            (four.of_gateway(2), four.of_load()),
            (&[2, 3][..], &[7][..])
        );
        let one = cores(&[5]);
        assert!(one.of_gateway(1).is_empty() && one.of_load().is_empty());
    }

    #[test]
    fn two_workers_get_two_cores() {
        let cores = Cores { all: vec![0, 1] };
        assert_eq!(cores.of_gateway(2), [0, 1]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_computed_is_counted() -> Result<()> {
        let pid = std::process::id();
        let before = cpu_time(pid)?;
        let begun = std::time::Instant::now();
        while cpu_time(pid)? < before + Duration::from_millis(5) {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "it does not grow"
            );
        }
        Ok(())
    }
}
