//! The kernel's functions by name: /proc/kallsyms.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;

use anyhow::{Context, Result};

/// A function as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name, with what the compiler appended.
    pub name: String,
    /// Where it is; 0 where the kernel hides addresses.
    pub address: u64,
    /// The module that it is in.
    pub module: Option<String>,
}

/// All functions.
pub struct Kallsyms(BTreeMap<String, Symbol>);

impl Kallsyms {
    /// Reads them.
    pub fn read() -> Result<Self> {
        let text = fs::read_to_string("/proc/kallsyms").context("cannot read /proc/kallsyms")?;
        Ok(Self::parse(&text))
    }

    /// Takes the lines apart: `ffffffff81000000 T name [module]`.
    fn parse(text: &str) -> Self {
        let symbols = text.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            words.next().filter(|kind| matches!(*kind, "t" | "T" | "w" | "W"))?;
            // Some labels of assembly begin with a dot.
            let name = words.next().filter(|name| !name.starts_with('.'))?.to_owned();
            let module = words.next().map(|word| word.trim_matches(['[', ']']).to_owned());
            Some((name.clone(), Symbol { name, address, module }))
        });
        Self(symbols.filter(|(_, symbol)| symbol.module.as_deref() != Some("bpf")).collect())
    }

    /// The function of a name, or what the compiler made of it: `name.isra.0`, `name.constprop.0`.
    pub fn find(&self, name: &str) -> Option<&Symbol> {
        self.0.get(name).or_else(|| {
            let from = format!("{name}.");
            let variants = self.0.range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded));
            variants
                .take_while(|(variant, _)| variant.starts_with(&from))
                .find(|(variant, _)| !variant.contains(".cold") && !variant.contains(".llvm"))
                .map(|(_, symbol)| symbol)
        })
    }

    /// All functions, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Symbol> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_of_a_function_are_found_and_data_is_not() {
        let all = Kallsyms::parse(
            "ffffffff81000010 T ip_rcv\n\
             ffffffff81000020 t ip_rcv_core.isra.0\n\
             ffffffff81000028 t ip_rcv_core.isra.0.cold\n\
             ffffffff81000030 D jiffies\n\
             ffffffff81000038 t .E_copy\n\
             ffffffffc0000040 t vxlan_rcv\t[vxlan]\n",
        );
        assert_eq!(all.find("ip_rcv").unwrap().address, 0xffff_ffff_8100_0010);
        assert_eq!(all.find("ip_rcv_core").unwrap().name, "ip_rcv_core.isra.0");
        assert_eq!(all.find("vxlan_rcv").unwrap().module.as_deref(), Some("vxlan"));
        assert!(all.find("jiffies").is_none() && all.find("").is_none());
    }
}
