//! What the instructions of a kernel must be, and what they must not.
//!
//! 1. A kernel is its function and whatever of the same file that reaches: what the compiler took out of line is the
//!    kernel's. The baseline's functions may have been taken into the trait's methods.
//! 2. Nothing of the file may fuse a multiply-add without belonging to a kernel that may, and nothing of another crate
//!    may be called that computes: its instructions are not here to be looked at.

use super::asm::{self, Function};
use std::collections::{BTreeMap, BTreeSet};

type Functions = BTreeMap<String, Function>;

/// A module of functions: its name, its element type, which vector registers it must have and must not have, and its
/// functions.
struct Module(
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

const MODULES: &[Module] = &[
    Module("f32_baseline", "f32", &["xmm"], &["ymm", "zmm"], FUNCTIONS),
    Module("f64_baseline", "f64", &["xmm"], &["ymm", "zmm"], FUNCTIONS),
    Module("f32_avx2", "f32", &["ymm"], &["zmm"], FUNCTIONS),
    Module("f64_avx2", "f64", &["ymm"], &["zmm"], FUNCTIONS),
    Module("f32_avx512", "f32", &["zmm"], &[], FUNCTIONS),
    Module("f64_avx512", "f64", &["zmm"], &[], FUNCTIONS),
    Module("f32_avx2_pairs", "f32", &["ymm"], &["zmm"], PAIRS),
    Module("f32_avx512_pairs", "f32", &["zmm"], &[], PAIRS),
    Module("f16_baseline", "f16", &["xmm"], &["ymm", "zmm"], FUNCTIONS),
    Module("bf16_baseline", "bf16", &["xmm"], &["ymm", "zmm"], FUNCTIONS),
    Module("f16_avx2", "f16", &["ymm"], &["zmm"], FUNCTIONS),
    Module("bf16_avx2", "bf16", &["ymm"], &["zmm"], FUNCTIONS),
    Module("f16_avx512", "f16", &["zmm"], &[], FUNCTIONS),
    Module("bf16_avx512", "bf16", &["zmm"], &[], FUNCTIONS),
    Module("f16_avx2_pairs", "f16", &["ymm"], &["zmm"], PAIRS),
    Module("bf16_avx2_pairs", "bf16", &["ymm"], &["zmm"], PAIRS),
    Module("f16_avx512_pairs", "f16", &["zmm"], &[], PAIRS),
    Module("bf16_avx512_pairs", "bf16", &["zmm"], &[], PAIRS),
];

const FUNCTIONS: &[&str] = &["sum", "map"];
const PAIRS: &[&str] = &["map_and_sum"];

/// Where a fused multiply-add is exact: Σx² and Σdy·x in f64, of all data but f64. The maps beside them are in f32.
fn exact(element: &str, function: &str) -> bool {
    element != "f64" && ["sum", PAIRS[0]].contains(&function)
}

/// Conversions that lose what is subnormal.
const LOSSY: &[&str] = &["vcvtneps2bf16", "vcvtne2ps2bf16"];

const REGISTERS: [&str; 3] = ["xmm", "ymm", "zmm"];

/// A function of the C library's that fuses where the machine cannot.
const LIBM: &[&str] = &["fma", "fmaf", "fmal"];

/// What was found of a kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) module: &'static str,
    pub(super) function: &'static str,
    /// Instructions with xmm, ymm and zmm registers.
    pub(super) registers: [usize; 3],
    /// Fused multiply-adds.
    pub(super) fused: usize,
    /// The paths of what it calls out of line.
    pub(super) helpers: Vec<String>,
}

/// Every kernel, and what is wrong.
pub(super) fn check(functions: &Functions) -> (Vec<Kernel>, Vec<String>) {
    let (mut kernels, mut faults, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for module in MODULES {
        for function in module.4 {
            let roots = roots(functions, module, function);
            if roots.is_empty() {
                faults.push(format!("{}::{function}: expected such a function, found none", module.0));
                continue;
            }
            let members = reach(functions, &roots);
            faults.extend(judge(functions, module, function, &members));
            kernels.push(count(functions, module.0, function, &roots, &members));
            seen.extend(members);
        }
    }
    for (symbol, function) in functions.iter().filter(|(symbol, _)| !seen.contains(*symbol)) {
        for instruction in function.instructions.iter().filter(|i| fuses(i)) {
            faults.push(format!(
                "{}: expected fused multiply-adds only in sums that are not of f64, got `{instruction}`",
                function.path
            ));
        }
        faults.extend(libm(&function.path, &functions[symbol]));
    }
    faults.sort();
    faults.dedup();
    (kernels, faults)
}

/// Whether a path is the kernel's own, or the trait's method that took in the baseline's.
fn is_root(path: &str, module: &Module, function: &str) -> bool {
    let Module(name, element, ..) = module;
    let method = name.ends_with("_baseline")
        // A half type has the path of its crate.
        && (path.contains(&format!("Kernels<{element}>")) || path.contains(&format!("::{element}> for ")))
        && path.contains("Dispatch")
        && path.ends_with(&format!(">::{function}"));
    path.ends_with(&format!("::{name}::{function}")) || method
}

fn roots(functions: &Functions, module: &Module, function: &str) -> BTreeSet<String> {
    let own = functions.iter().filter(|(_, f)| is_root(&f.path, module, function));
    own.map(|(symbol, _)| symbol.clone()).collect()
}

/// The roots and what they reach in the file, other kernels aside: the trait's methods jump to every level's.
fn reach(functions: &Functions, roots: &BTreeSet<String>) -> BTreeSet<String> {
    let kernel = |path: &str| MODULES.iter().any(|m| m.4.iter().any(|f| is_root(path, m, f)));
    let (mut members, mut open) = (roots.clone(), roots.iter().cloned().collect::<Vec<_>>());
    while let Some(symbol) = open.pop() {
        for next in &functions[&symbol].symbols {
            if functions.get(next).is_some_and(|f| !kernel(&f.path)) && members.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    members
}

fn fuses(instruction: &str) -> bool {
    ["vfmadd", "vfmsub", "vfnmadd", "vfnmsub"].iter().any(|start| instruction.starts_with(start))
}

/// In f64, of a product that is added: what is exact for widened f32.
fn fuses_doubles(instruction: &str) -> bool {
    let mnemonic = instruction.split(' ').next().unwrap_or_default();
    let sum = mnemonic.strip_prefix("vfmadd").filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    sum.is_some_and(|rest| rest.ends_with("pd") || rest.ends_with("sd"))
}

fn libm(place: &str, function: &Function) -> Vec<String> {
    let called = function.symbols.iter().filter(|s| LIBM.contains(&s.as_str()));
    called.map(|s| format!("{place}: expected no call of the C library's arithmetic, got `{s}`")).collect()
}

fn judge(functions: &Functions, module: &Module, function: &str, members: &BTreeSet<String>) -> Vec<String> {
    let Module(name, element, wanted, forbidden, _) = module;
    let vex = !name.ends_with("_baseline");
    let exact = exact(element, function);
    let mut faults = Vec::new();
    for member in members.iter().map(|symbol| &functions[symbol]) {
        let place = if is_root(&member.path, module, function) {
            format!("{name}::{function}")
        } else {
            format!("{name}::{function}, in {}", member.path)
        };
        for i in member.instructions.iter().filter(|i| fuses(i) && !(exact && fuses_doubles(i))) {
            let allowed = if exact { "only fused multiply-adds of doubles" } else { "no fused multiply-add" };
            faults.push(format!("{place}: expected {allowed}, got `{i}`"));
        }
        let lossy = member.instructions.iter().find(|i| LOSSY.iter().any(|start| i.starts_with(start)));
        faults
            .extend(lossy.map(|i| format!("{place}: expected conversions that keep subnormals, got `{i}`")));
        for register in *forbidden {
            let found = member.instructions.iter().find(|i| i.contains(&format!("%{register}")));
            faults.extend(found.map(|i| format!("{place}: expected no {register} register, got `{i}`")));
        }
        // The older encoding in a function for a newer machine: it was compiled for the baseline.
        let old = member.instructions.iter().find(|i| vex && i.contains("%xmm") && !i.starts_with('v'));
        faults.extend(old.map(|i| format!("{place}: expected instructions of the level, got `{i}`")));
        faults.extend(libm(&place, member));
        // Of the core crate, what is not inlined; panics and copies are the standard library's.
        let foreign = member.symbols.iter().filter(|s| !functions.contains_key(*s)).map(|s| asm::path(s));
        let computing = foreign.filter(|path| path.starts_with("bn_") || path.starts_with("<bn_"));
        faults.extend(
            computing.map(|path| format!("{place}: expected nothing of another crate, got `{path}`")),
        );
    }
    for register in *wanted {
        let has = |symbol: &String| {
            functions[symbol].instructions.iter().any(|i| i.contains(&format!("%{register}")))
        };
        if !members.iter().any(has) {
            faults.push(format!("{name}::{function}: expected {register} registers, found none"));
        }
    }
    faults
}

fn count(
    functions: &Functions,
    module: &'static str,
    function: &'static str,
    roots: &BTreeSet<String>,
    members: &BTreeSet<String>,
) -> Kernel {
    let instructions = || members.iter().flat_map(|symbol| &functions[symbol].instructions);
    let helpers: BTreeSet<String> =
        members.difference(roots).map(|symbol| functions[symbol].path.clone()).collect();
    Kernel {
        module,
        function,
        registers: REGISTERS.map(|r| instructions().filter(|i| i.contains(&format!("%{r}"))).count()),
        fused: instructions().filter(|i| fuses(i)).count(),
        helpers: helpers.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as the compiler writes it, whose kernels keep the rules; `lines` go into the function of this path.
    fn file(into: &str, lines: &str) -> String {
        let mut text = String::new();
        let mut push = |symbol: &str, path: &str, body: &str| {
            let more = if path == into { lines } else { "" };
            text += &format!("\t.type\t{symbol},@function\n{symbol}:\n{body}{more}\tretq\n");
        };
        let entry = "bn_dispatch::entry";
        for (element, type_path) in ELEMENTS {
            for function in FUNCTIONS {
                for (level, body) in [
                    ("avx2", "\tvmulps\t%ymm0, %ymm1, %ymm2\n"),
                    ("avx512", "\tvmulps\t%zmm0, %zmm1, %zmm2\n\tvmovups\t%ymm0, %ymm1\n"),
                ] {
                    let path = format!("{entry}::{element}_{level}::{function}");
                    push(&mangled(&path), &path, body);
                }
                // Taken into the trait's method, which also jumps to the others.
                let length = function.len();
                let name = format!(
                    "_$LT$impl$u20$bn_core..kernel..backend..Kernels$LT${type_path}$GT$$u20$for$u20$bn_dispatch..Dispatch$GT$"
                );
                let symbol = format!(
                    "_ZN11bn_dispatch5entry{}{name}{length}{function}17h0123456789abcdefE",
                    name.len()
                );
                let jump = mangled(&format!("{entry}::{element}_avx2::{function}"));
                let path = format!("{element}_baseline::{function}");
                push(&symbol, &path, &format!("\tmulps\t%xmm0, %xmm1\n\tjmp\t{jump}\n"));
            }
        }
        for function in PAIRS {
            for (level, register) in [("avx2", "ymm"), ("avx512", "zmm")] {
                for element in ["f32", "f16", "bf16"] {
                    let path = format!("{entry}::{element}_{level}_pairs::{function}");
                    let body = format!("\tvmulps\t%{register}0, %{register}1, %{register}2\n");
                    push(&mangled(&path), &path, &body);
                }
            }
        }
        push(&mangled("bn_dispatch::runs::sum::helper"), "helper", "\tvaddps\t%xmm0, %xmm1, %xmm1\n");
        push(&mangled("bn_dispatch::level::other"), "other", "");
        text
    }

    /// The element types, and their paths as symbols have them.
    const ELEMENTS: [(&str, &str); 4] =
        [("f32", "f32"), ("f64", "f64"), ("f16", "half..binary16..f16"), ("bf16", "half..bfloat..bf16")];

    fn mangled(path: &str) -> String {
        let parts: String = path.split("::").map(|part| format!("{}{part}", part.len())).collect();
        format!("_ZN{parts}17h0123456789abcdefE")
    }

    fn faults(into: &str, lines: &str) -> Vec<String> {
        check(&asm::functions(&file(into, lines))).1
    }

    #[test]
    fn kernels_that_keep_the_rules_are_counted() {
        let exact = "bn_dispatch::entry::f32_avx512::sum";
        let (kernels, faults) = check(&asm::functions(&file(
            exact,
            "\tvfmadd231pd\t%zmm1, %zmm2, %zmm3\n\tvfmadd213sd\t%xmm1, %xmm2, %xmm3\n",
        )));
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(kernels.len(), 30);
        let sum = kernels.iter().find(|k| (k.module, k.function) == ("f32_avx512", "sum")).unwrap();
        assert_eq!((sum.registers, sum.fused), ([1, 1, 2], 2));
    }

    /// The function, the instruction that is planted into it, and what is said of it.
    const PLANTED: &str = "\
f32_avx2::map | vfmadd231ps %ymm1, %ymm2, %ymm3 | f32_avx2::map: expected no fused multiply-add, got `vfmadd231ps %ymm1, %ymm2, %ymm3`
        f32_avx512::sum | vfnmadd213pd %zmm1, %zmm2, %zmm3 | f32_avx512::sum: expected only fused multiply-adds of doubles, got `vfnmadd213pd
        f64_avx512::sum | vfmadd213pd %zmm1, %zmm2, %zmm3 | f64_avx512::sum: expected no fused multiply-add, got `vfmadd213pd
        f64_avx2::sum | vfmadd231pd %ymm1, %ymm2, %ymm3 | f64_avx2::sum: expected no fused multiply-add
        f32_avx2::sum | vfmadd231ps %ymm1, %ymm2, %ymm3 | f32_avx2::sum: expected only fused multiply-adds of doubles, got `vfmadd231ps
        f32_avx2_pairs::map_and_sum | vmovups %zmm1, (%rax) | f32_avx2_pairs::map_and_sum: expected no zmm register, got `vmovups %zmm1, (%rax)`
        f32_avx512_pairs::map_and_sum | vfmadd231ps %zmm1, %zmm2, %zmm3 | f32_avx512_pairs::map_and_sum: expected only fused multiply-adds of doubles
        f32_avx2::sum | vfmsub231pd %ymm1, %ymm2, %ymm3 | expected only fused multiply-adds of doubles, got `vfmsub231pd
        f64_avx2::map | vmovups %zmm1, (%rax) | f64_avx2::map: expected no zmm register, got `vmovups %zmm1, (%rax)`
        f32_baseline::map | vmovups %ymm1, (%rax) | f32_baseline::map: expected no ymm register
        f32_avx2::map | mulps %xmm1, %xmm2 | f32_avx2::map: expected instructions of the level, got `mulps
        f64_baseline::sum | movq fma@GOTPCREL(%rip), %rax | f64_baseline::sum: expected no call of the C library's arithmetic, got `fma`
        f64_avx512::map | callq _ZN7bn_core3num3eft8two_prod17h0123456789abcdefE | f64_avx512::map: expected nothing of another crate, got `bn_core::num::eft::two_prod`
        bf16_avx512::sum | vfmsub231pd %zmm1, %zmm2, %zmm3 | bf16_avx512::sum: expected only fused multiply-adds of doubles, got `vfmsub231pd
        bf16_avx512::map | vcvtneps2bf16 %zmm1, %ymm2 | bf16_avx512::map: expected conversions that keep subnormals, got `vcvtneps2bf16
        f16_baseline::map | vcvtph2ps %xmm1, %ymm2 | f16_baseline::map: expected no ymm register
        other | vfmadd231sd %xmm1, %xmm2, %xmm3 | bn_dispatch::level::other: expected fused";

    #[test]
    fn planted_faults_are_named() {
        let entry = "bn_dispatch::entry";
        for row in PLANTED.lines().map(str::trim) {
            let [into, instruction, says] = row.split(" | ").collect::<Vec<_>>()[..] else { panic!("{row}") };
            let into = if into.contains("baseline") || into == "other" {
                into.into()
            } else {
                format!("{entry}::{into}")
            };
            let faults = faults(&into, &format!("\t{instruction}\n"));
            assert!(faults.len() == 1 && faults[0].contains(says), "{says:?}: {faults:?}");
        }
        let to_helper = format!("\tcallq\t{}\n", mangled("bn_dispatch::runs::sum::helper"));
        // A helper out of line is its caller's.
        let text = file(&format!("{entry}::f32_avx2::map"), &to_helper)
            .replace("\tvaddps\t%xmm0", "\tvfmadd231ss\t%xmm2");
        let faults = check(&asm::functions(&text)).1;
        let says = "f32_avx2::map, in bn_dispatch::runs::sum::helper: expected no fused multiply-add";
        assert!(faults.len() == 1 && faults[0].contains(says), "{faults:?}");
    }

    #[test]
    fn kernels_that_are_gone_or_narrow_are_named() {
        let text = file("", "");
        let path = mangled("bn_dispatch::entry::f64_avx512::sum");
        let gone = check(&asm::functions(&text.replace(&path, "elsewhere"))).1;
        assert_eq!(gone, ["f64_avx512::sum: expected such a function, found none"]);
        let narrow = check(&asm::functions(&text.replace("%zmm", "%ymm"))).1;
        assert_eq!(narrow.len(), 11, "{narrow:?}");
        assert!(narrow[0].ends_with(": expected zmm registers, found none"), "{narrow:?}");
    }
}
