//! An assembly file of the compiler's, in AT&T syntax, as functions.

use std::collections::BTreeMap;

/// A function.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Function {
    /// Its path, without the compiler's hash.
    pub(super) path: String,
    /// Its instructions, mnemonic first.
    pub(super) instructions: Vec<String>,
    /// The symbols that its instructions name: called, jumped to, or taken the address of.
    pub(super) symbols: Vec<String>,
}

/// A symbol's path, without the hash.
pub(super) fn path(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}

/// The file's functions, by symbol. What is one code under two names stands there twice.
pub(super) fn functions(text: &str) -> BTreeMap<String, Function> {
    let mut functions: BTreeMap<String, Function> = BTreeMap::new();
    let (mut declared, mut current, mut aliases) = (Vec::new(), None, Vec::new());
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        if let Some(kind) = line.trim_start().strip_prefix(".type") {
            if let Some((name, "@function")) = kind.trim().split_once(',') {
                declared.push(name.to_string());
            }
        } else if let Some(alias) = line.trim_start().strip_prefix(".set") {
            aliases.extend(alias.trim().split_once(',').map(|(a, b)| (a.to_string(), b.trim().to_string())));
        } else if let Some(label) = line.strip_suffix(':') {
            // Labels inside of a function begin with a dot.
            if !label.starts_with('.') {
                current = declared.contains(&label.to_string()).then(|| label.to_string());
                if let Some(name) = &current {
                    let new = Function { path: path(name), ..Function::default() };
                    functions.insert(name.clone(), new);
                }
            }
        } else if let Some(function) = current.as_ref().and_then(|name| functions.get_mut(name)) {
            let instruction = line.trim();
            if instruction.is_empty() || instruction.starts_with('.') {
                continue;
            }
            function.symbols.extend(symbols(instruction));
            function.instructions.push(instruction.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    for (alias, name) in aliases {
        if let Some(function) = functions.get(&name).cloned().filter(|_| declared.contains(&alias)) {
            functions.insert(alias.clone(), Function { path: path(&alias), ..function });
        }
    }
    functions
}

/// The symbols of an instruction's operands; neither registers nor labels of the function's own.
fn symbols(instruction: &str) -> Vec<String> {
    let operands = instruction.split_once(char::is_whitespace).map_or("", |(_, operands)| operands);
    let words = operands.split([',', ' ', '(', ')', '*', '+', '\t']).filter_map(|w| w.split('@').next());
    let symbol = |w: &&str| w.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    words.filter(symbol).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\t.type\t_ZN1a1f17h0123456789abcdefE,@function\n\
        _ZN1a1f17h0123456789abcdefE:\n\t.cfi_startproc\n.LBB0_1:\n\
        \tvmulps\t.LCPI0_0(%rip), %ymm0, %ymm1  # a comment\n\
        \tmovq\tmemcpy@GOTPCREL(%rip), %r8\n\tcallq\t*%r8\n\tjne\t.LBB0_1\n\tjmp\t_ZN1a1gE@PLT\n\
        .Lfunc_end0:\n\tretq\n\
        \t.type\tdata,@object\ndata:\n\t.quad\t7\n\tvfmadd\n\
        \t.type\tb,@function\n.set b, _ZN1a1f17h0123456789abcdefE\n";

    #[test]
    fn functions_have_instructions_and_symbols() {
        let found = functions(TEXT);
        let names: Vec<&str> = found.values().map(|f| f.path.as_str()).collect();
        assert_eq!(names, ["a::f", "b"]);
        for function in found.values() {
            assert_eq!(function.instructions.len(), 6, "{function:?}");
            assert_eq!(function.instructions[0], "vmulps .LCPI0_0(%rip), %ymm0, %ymm1");
            assert_eq!(function.symbols, ["memcpy", "_ZN1a1gE"]);
        }
    }
}
