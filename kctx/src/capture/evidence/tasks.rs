//! Threads: the kernel's own, those that burn CPU, and where the kernel's stand.
//!
//! Of every process one line is read (`stat`, fs/proc/array.c `do_task_stat`), of those chosen a little more. Command lines
//! and environments are not.

use std::{cmp::Reverse, time::Instant};

use super::{Phase, own::field, place::Place};

/// Processes looked at.
const PROCESSES: usize = 32_768;
/// Kernel threads kept: those that took the most CPU time.
const KERNEL_THREADS: usize = 1_024;
/// Tasks of userspace kept: those that took the most CPU time since the sample before, or ever.
const TASKS: usize = 20;
/// Tasks kept since they run before all others (FIFO, RR, DEADLINE).
const REALTIME_TASKS: usize = 64;
/// Threads looked at beside processes, for those that run before all others.
const THREADS: usize = 8_192;
/// Stacks taken.
const STACKS: usize = 32;
/// The most of one stack.
const STACK_BYTES: usize = 4096;
/// `PF_KTHREAD` (include/linux/sched.h)
const PF_KTHREAD: u64 = 0x0020_0000;

/// What `stat` says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub pid: u32,
    comm: String,
    state: String,
    flags: u64,
    user_ticks: u64,
    system_ticks: u64,
    priority: i64,
    nice: i64,
    threads: u64,
    start_ticks: u64,
    cpu: u32,
    realtime_priority: u32,
    policy: u32,
}

impl Task {
    /// The comm is in brackets and may hold brackets and blanks itself; 41 fields at most follow that matter.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (pid, rest) = line.split_once(" (")?;
        let (comm, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Numbered as proc(5) does: state is field 3.
        let text = |number: usize| fields.get(number - 3).copied();
        let unsigned = |number| text(number)?.parse::<u64>().ok();
        let signed = |number| text(number)?.parse::<i64>().ok();
        Some(Self {
            pid: pid.parse().ok()?,
            comm: comm.replace(['\t', '\n'], " "),
            state: text(3)?.to_owned(),
            flags: unsigned(9)?,
            user_ticks: unsigned(14)?,
            system_ticks: unsigned(15)?,
            priority: signed(18)?,
            nice: signed(19)?,
            threads: unsigned(20)?,
            start_ticks: unsigned(22)?,
            cpu: u32::try_from(unsigned(39)?).ok()?,
            realtime_priority: u32::try_from(unsigned(40)?).ok()?,
            policy: u32::try_from(unsigned(41)?).ok()?,
        })
    }

    fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }

    pub(super) fn ticks(&self) -> u64 {
        self.user_ticks.saturating_add(self.system_ticks)
    }

    /// Tells processes apart that had the same id.
    pub(super) fn key(&self) -> (u32, u64) {
        (self.pid, self.start_ticks)
    }

    /// `SCHED_*` (include/uapi/linux/sched.h)
    fn policy_name(&self) -> &'static str {
        match self.policy {
            0 => "other",
            1 => "fifo",
            2 => "rr",
            3 => "batch",
            5 => "idle",
            6 => "deadline",
            7 => "ext",
            _ => "unknown",
        }
    }

    fn is_realtime(&self) -> bool {
        matches!(self.policy, 1 | 2 | 6)
    }
}

const HEAD: &str = "pid\tcomm\tstate\tcpu\tpolicy\trt_priority\tpriority\tnice\tuser_ticks\tsystem_ticks\t\
                    grown_ticks\trun_ns\twait_ns\truns\tcpus_allowed\tcgroup\n";

/// Kernel threads, those that took most first.
pub(super) fn kthreads(place: &Place<'_>) -> Result<Vec<u8>, String> {
    let mut threads = all(place, Task::is_kernel_thread)?;
    threads.sort_by_key(|thread| (Reverse(thread.ticks()), thread.pid));
    threads.truncate(KERNEL_THREADS);
    Ok(table(place, &threads, |_| None))
}

/// Tasks of userspace: the busiest since the sample before the window, or since they began where there is none, and those
/// that run before all others, single threads of processes that do not among them.
pub(super) fn busiest(place: &Place<'_>) -> Result<Vec<u8>, String> {
    let tasks = all(place, |task| !task.is_kernel_thread())?;
    let grown = |task: &Task| match place.phase {
        Phase::Before => None,
        Phase::After => {
            let before = place.memory.ticks_before(task.key());
            Some(task.ticks().saturating_sub(before))
        }
    };
    let mut by_growth: Vec<&Task> = tasks.iter().collect();
    by_growth.sort_by_key(|task| (Reverse(grown(task).unwrap_or(task.ticks())), task.pid));
    let threads = realtime_threads(place, &by_growth);
    let realtime = by_growth.iter().skip(TASKS).copied();
    let realtime = realtime.chain(&threads).filter(|task| task.is_realtime());
    let chosen: Vec<Task> = by_growth
        .iter()
        .take(TASKS)
        .copied()
        .chain(realtime.take(REALTIME_TASKS))
        .cloned()
        .collect();
    let out = table(place, &chosen, grown);
    if place.phase == Phase::Before {
        let known = tasks.iter().chain(&threads);
        place
            .memory
            .remember_ticks(known.map(|task| (task.key(), task.ticks())));
    }
    Ok(out)
}

/// Threads that run before all others, but for their process's first: of the processes in this order, for half of the time that
/// is left, since those that are found have to be told.
fn realtime_threads(place: &Place<'_>, processes: &[&Task]) -> Vec<Task> {
    let end = Instant::now() + place.time_left() / 2;
    let ids = processes.iter().filter(|process| process.threads > 1);
    let ids = ids.flat_map(|process| {
        let names = place.names(&format!("/proc/{}/task", process.pid));
        let first = process.pid.to_string();
        let others = names.into_iter().filter(move |name| *name != first);
        others.map(|thread| (process.pid, thread))
    });
    let threads = ids
        .take(THREADS)
        .take_while(|_| Instant::now() < end)
        .filter_map(|(process, thread)| {
            let stat = format!("/proc/{process}/task/{thread}/stat");
            Task::parse(&place.root.read_line(&stat).ok()?)
        });
    threads.filter(Task::is_realtime).collect()
}

/// Where kernel threads stand that run, or wait without being interruptible.
pub(super) fn stacks(place: &Place<'_>) -> Result<Vec<u8>, String> {
    let mut threads = all(place, |task| {
        task.is_kernel_thread() && matches!(task.state.as_str(), "R" | "D")
    })?;
    // Kworkers first: whose work it is can be seen nowhere else.
    threads.sort_by_key(|thread| (!thread.comm.starts_with("kworker"), thread.pid));
    let mut out = String::new();
    for thread in threads.iter().take(STACKS) {
        let path = format!("/proc/{}/stack", thread.pid);
        match place.text(&path, STACK_BYTES) {
            Ok(stack) => {
                let (pid, comm, state) = (thread.pid, &thread.comm, &thread.state);
                out.push_str(&format!("{pid} ({comm}) {state}\n{stack}\n"));
            }
            // A thread that has ended meanwhile is none; one that may not be read is a reason.
            Err(reason) if reason.ends_with("is not there") => {}
            Err(reason) => return Err(format!("{reason} (it takes CAP_SYS_ADMIN)")),
        }
    }
    if out.is_empty() {
        out.push_str("no kernel thread ran or waited in state D\n");
    }
    Ok(out.into_bytes())
}

/// Processes that are wanted, as many as there is time for.
fn all(place: &Place<'_>, wanted: impl Fn(&Task) -> bool) -> Result<Vec<Task>, String> {
    if place.root.read_line("/proc/1/stat").is_err() {
        return Err("/proc shows no processes".to_owned());
    }
    let names = place.names("/proc").into_iter();
    let ids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let tasks = ids
        .take(PROCESSES)
        .take_while(|_| !place.is_late())
        .filter_map(|id| Task::parse(&place.root.read_line(&format!("/proc/{id}/stat")).ok()?))
        .filter(wanted);
    Ok(tasks.collect())
}

fn table(place: &Place<'_>, tasks: &[Task], grown: impl Fn(&Task) -> Option<u64>) -> Vec<u8> {
    let mut out = HEAD.to_owned();
    for task in tasks {
        if place.is_late() {
            break;
        }
        let of_it = |file: &str| place.root.read_line(&format!("/proc/{}/{file}", task.pid));
        // `proc_pid_schedstat`: ran, waited, how often.
        let schedstat = of_it("schedstat").unwrap_or_default();
        let mut times = schedstat.split_ascii_whitespace();
        let mut time = || times.next().unwrap_or("-");
        let (run, wait, runs) = (time(), time(), time());
        let status = of_it("status").unwrap_or_default();
        let allowed = field(&status, "Cpus_allowed_list:").unwrap_or("-");
        let cgroup = if task.is_kernel_thread() {
            String::new()
        } else {
            of_it("cgroup")
                .unwrap_or_default()
                .replace(['\n', '\t'], " ")
        };
        let grown = grown(task).map_or_else(|| "-".to_owned(), |ticks| ticks.to_string());
        out.push_str(&format!(
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{grown}\t{run}\t{wait}\t{runs}\t{allowed}\t{cgroup}\n",
            task.pid,
            task.comm,
            task.state,
            task.cpu,
            task.policy_name(),
            task.realtime_priority,
            task.priority,
            task.nice,
            task.user_ticks,
            task.system_ticks,
        ));
    }
    out.into_bytes()
}
