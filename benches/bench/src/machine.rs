//! What a figure was measured on.

use super::record::Record;
use bench_mem::pages;
use benches::memory;
use bn_dispatch::Level;
use std::process::Command;
use std::time::SystemTime;

/// The machine, the compiler and the build.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) rustc: String,
    /// `2026-11-22`.
    pub(crate) date: String,
    /// Everything for readers, by name.
    pub(crate) lines: Vec<(&'static str, String)>,
}

impl Machine {
    /// This one, now.
    pub(crate) fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_string()).ok();
        let unknown = || "unknown".to_string();
        let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line =
                cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_string()))
        };
        let cpu = match (field("model name"), field("cpu family"), field("model")) {
            (Some(name), Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
            (name, ..) => name.unwrap_or_else(|| std::env::consts::ARCH.into()),
        };
        let compiler = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into())).arg("-V").output();
        let rustc = compiler.ok().filter(|output| output.status.success());
        let rustc = rustc.map_or_else(unknown, |o| String::from_utf8_lossy(&o.stdout).trim().to_string());
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let caches = (0..8).filter_map(|i| {
            let of = |what: &str| read(&format!("/sys/devices/system/cpu/cpu0/cache/index{i}/{what}"));
            let kind = of("type").filter(|kind| kind != "Instruction")?;
            let kind = if kind == "Data" { "d" } else { "" };
            Some(format!("L{}{kind} {}", of("level")?, of("size")?))
        });
        let caches: Vec<String> = caches.collect();
        let cores = std::thread::available_parallelism().map_or_else(|_| unknown(), |n| n.to_string());
        let system = read("/proc/sys/kernel/osrelease");
        let build =
            if cfg!(debug_assertions) { "with debug assertions: not for comparison" } else { "release" };
        let lines = vec![
            ("processor", cpu.clone()),
            ("threads it offers", cores),
            ("caches of one core", if caches.is_empty() { unknown() } else { caches.join(", ") }),
            ("system", format!("{} {}", std::env::consts::OS, system.unwrap_or_default())),
            ("huge pages", read("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_else(unknown)),
            ("pages of the tensors", tensors()),
            ("load before the run", read("/proc/loadavg").unwrap_or_else(unknown)),
            ("freed memory", if memory::is_kept() { "kept by the allocator" } else { "goes back" }.into()),
            ("compiler", rustc.clone()),
            ("build", build.into()),
            ("target features of the build, which is what wide uses", features()),
            ("dispatch runs at", Level::detect().to_string()),
            ("date", now.clone()),
        ];
        let date = now.split('T').next().unwrap_or_default().into();
        Self { cpu, rustc, date, lines }
    }

    /// What an earlier run's records know of it.
    pub(crate) fn of(record: &Record) -> Self {
        let Record { cpu, rustc, date, .. } = record.clone();
        let lines = vec![("processor", cpu.clone()), ("compiler", rustc.clone()), ("date", date.clone())];
        Self { cpu, rustc, date, lines }
    }

    /// The lines for a terminal or a text file.
    pub(crate) fn text(&self) -> String {
        self.lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
    }
}

/// What the tensors lie on, found out by one.
fn tensors() -> String {
    const MB: usize = 1 << 20;
    let trial = pages::filled(16 * MB, |tensor| tensor.resize(16 * MB, 1u8));
    match pages::huge_bytes(&trial) {
        Some(0) => "small: none huge of a trial of 16 MB".into(),
        Some(huge) => format!("huge where a tensor covers one whole: {} MB of a trial of 16 MB", huge / MB),
        None => "asked for huge ones on Linux; what was given is not known".into(),
    }
}

/// The vector instruction sets that this build may use everywhere.
fn features() -> String {
    let all = [
        ("sse2", cfg!(target_feature = "sse2")),
        ("sse4.2", cfg!(target_feature = "sse4.2")),
        ("avx", cfg!(target_feature = "avx")),
        ("avx2", cfg!(target_feature = "avx2")),
        ("fma", cfg!(target_feature = "fma")),
        ("avx512f", cfg!(target_feature = "avx512f")),
        ("neon", cfg!(target_feature = "neon")),
    ];
    let there: Vec<&str> = all.into_iter().filter(|feature| feature.1).map(|feature| feature.0).collect();
    if there.is_empty() { "none of note".into() } else { there.join(", ") }
}
