//! What the BTF of the kernel and its modules says: prototypes of functions and tracepoints, and enums.
//!
//! libbpf-rs opens no module's BTF, which is split: its types continue those of the kernel. So this asks libbpf itself.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;

use anyhow::{Context, Result, bail};
use libbpf_rs::libbpf_sys::{self, btf, btf_enum, btf_param, btf_type};

/// Kinds of types: `BTF_KIND_*`, include/uapi/linux/btf.h.
#[allow(clippy::missing_docs_in_private_items, reason = "the kernel's names say it")]
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// Where the kernel shows its BTF and that of its modules.
const FOLDER: &str = "/sys/kernel/btf";

/// What the name of a tracepoint's typedef begins with.
const TRACEPOINT: &str = "btf_trace_";

/// The BTF of the kernel, or of one module.
pub struct Btf {
    /// libbpf's handle.
    handle: NonNull<btf>,
    /// Type ids of functions, of the tracepoints' typedefs and of enums.
    known: HashMap<(Sort, String), u32>,
}

/// What is looked up by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sort {
    /// A function.
    Function,
    /// A typedef `btf_trace_*`, which has a tracepoint's prototype.
    Typedef,
    /// An enum.
    Enum,
}

/// What an argument or a return value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Nothing.
    Void,
    /// A pointer to a struct of this name; no name for `void *` and the like.
    Pointer(String),
    /// A pointer to a pointer to a struct of this name.
    Reference(String),
    /// An integer of so many bytes.
    Integer(u32, Signed),
    /// An enum of this name.
    Enum(String),
    /// A struct by value, which takes more than its share of registers.
    Aggregate,
}

/// Whether an integer has a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// It has.
    Yes,
    /// It has not.
    No,
    /// It is true or false.
    Bool,
}

/// A function's prototype.
#[derive(Clone, Debug)]
pub struct Prototype {
    /// Its type id, by which fentry attaches.
    pub id: u32,
    /// The arguments.
    pub parameters: Vec<Type>,
    /// What it returns.
    pub returns: Type,
}

impl Prototype {
    /// Whether netfilter can call it as a hook: `nf_hookfn`, include/linux/netfilter.h.
    pub fn is_hook(&self) -> bool {
        let pointers = self.parameters.iter().map(|ty| if let Type::Pointer(name) = ty { name } else { "?" });
        self.returns == Type::Integer(4, Signed::No) && pointers.eq(["", "sk_buff", "nf_hook_state"])
    }
}

impl Btf {
    /// Opens the kernel's own.
    pub fn kernel() -> Result<Self> {
        if !Path::new(FOLDER).join("vmlinux").exists() {
            bail!(
                "this kernel has no BTF ({FOLDER}/vmlinux is missing): it must be built with CONFIG_DEBUG_INFO_BTF=y"
            );
        }
        // SAFETY: has no arguments; the result is checked.
        let handle = unsafe { libbpf_sys::btf__load_vmlinux_btf() };
        Self::new(handle, 1).with_context(|| format!("cannot read the kernel's BTF in {FOLDER}/vmlinux"))
    }

    /// Opens a file that stands for the kernel's own.
    pub fn file(path: &Path) -> Result<Self> {
        File::open(path).with_context(|| format!("--btf: cannot open {}", path.display()))?;
        let name = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: `name` is a string; the result is checked.
        let handle = unsafe { libbpf_sys::btf__parse(name.as_ptr(), std::ptr::null_mut()) };
        Self::new(handle, 1)
            .ok()
            .with_context(|| format!("--btf: {} is neither BTF nor an ELF file that has it", path.display()))
    }

    /// Opens a module's, which continues the kernel's.
    pub fn module(&self, name: &str) -> Result<Self> {
        let path = Path::new(FOLDER).join(name);
        if !path.exists() {
            bail!("the kernel module {name} has no BTF ({} is missing)", path.display());
        }
        let name = CString::new(name)?;
        // SAFETY: `name` is a string; our own handle stays open as long as the process runs.
        let handle = unsafe { libbpf_sys::btf__load_module_btf(name.as_ptr(), self.handle.as_ptr()) };
        // SAFETY: the handle is open.
        let first = unsafe { libbpf_sys::btf__type_cnt(self.handle.as_ptr()) };
        Self::new(handle, first).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Notes what is looked up by name among the types from `first` on.
    fn new(handle: *mut btf, first: u32) -> Result<Self> {
        let handle = NonNull::new(handle).ok_or_else(std::io::Error::last_os_error)?;
        let mut found = Self { handle, known: HashMap::new() };
        // SAFETY: the handle is open.
        let end = unsafe { libbpf_sys::btf__type_cnt(handle.as_ptr()) };
        found.known = (first..end)
            .filter_map(|id| {
                let ty = found.ty(id)?;
                let name = found.name(ty);
                let sort = match kind_of(ty) {
                    kind::FUNC => Sort::Function,
                    kind::ENUM | kind::ENUM64 if !name.is_empty() => Sort::Enum,
                    kind::TYPEDEF if name.starts_with(TRACEPOINT) => Sort::Typedef,
                    _ => return None,
                };
                Some(((sort, name.to_owned()), id))
            })
            .collect();
        Ok(found)
    }

    /// The id of what has this name.
    fn id(&self, sort: Sort, name: &str) -> Option<u32> {
        self.known.get(&(sort, name.to_owned())).copied()
    }

    /// The prototype of a function.
    pub fn prototype(&self, name: &str) -> Option<Prototype> {
        let id = self.id(Sort::Function, name)?;
        self.prototype_of(id, referenced(self.ty(id)?))
    }

    /// Names of the functions whose prototype fits, in alphabetical order.
    pub fn functions(&self, fits: impl Fn(&Prototype) -> bool) -> Vec<&str> {
        let named = self.known.keys().filter(|(sort, _)| *sort == Sort::Function);
        let fitting = named.filter(|(_, name)| self.prototype(name).is_some_and(|found| fits(&found)));
        let mut names: Vec<&str> = fitting.map(|(_, name)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The prototype of a tracepoint, without its first parameter, which is its own data.
    pub fn tracepoint(&self, name: &str) -> Option<Prototype> {
        let id = self.id(Sort::Typedef, &format!("{TRACEPOINT}{name}"))?;
        let pointer = self.resolve(id).filter(|ty| kind_of(ty) == kind::PTR)?;
        let mut found = self.prototype_of(id, referenced(pointer))?;
        found.parameters.remove(0);
        Some(found)
    }

    /// What a type that must be a prototype says.
    fn prototype_of(&self, id: u32, prototype: u32) -> Option<Prototype> {
        let prototype = self.ty(prototype).filter(|ty| kind_of(ty) == kind::FUNC_PROTO)?;
        // SAFETY: a FUNC_PROTO is followed by its parameters, as many as its vlen says.
        let parameters: &[btf_param] = unsafe { behind(prototype) };
        Some(Prototype {
            id,
            parameters: parameters.iter().map(|p| self.classify(p.type_)).collect(),
            returns: self.classify(referenced(prototype)),
        })
    }

    /// The id of a struct.
    pub fn structure(&self, name: &CStr) -> Option<u32> {
        // SAFETY: the handle is open, and the name a string.
        let id =
            unsafe { libbpf_sys::btf__find_by_name_kind(self.handle.as_ptr(), name.as_ptr(), kind::STRUCT) };
        id.try_into().ok()
    }

    /// The members of an enum of 32 bits by value.
    pub fn members(&self, name: &str) -> Vec<(u32, &str)> {
        let found = self.id(Sort::Enum, name).and_then(|id| self.ty(id));
        let Some(ty) = found.filter(|ty| kind_of(ty) == kind::ENUM) else { return Vec::new() };
        // SAFETY: an ENUM is followed by its members, as many as its vlen says.
        let members: &[btf_enum] = unsafe { behind(ty) };
        members.iter().map(|m| (m.val.cast_unsigned(), self.text(m.name_off))).collect()
    }

    /// A type by its id.
    fn ty(&self, id: u32) -> Option<&btf_type> {
        // SAFETY: the handle is open, and libbpf checks the id.
        unsafe { libbpf_sys::btf__type_by_id(self.handle.as_ptr(), id).as_ref() }
    }

    /// The name of a type.
    fn name(&self, ty: &btf_type) -> &str {
        self.text(ty.name_off)
    }

    /// A name by its place among the strings.
    fn text(&self, offset: u32) -> &str {
        // SAFETY: the handle is open, and libbpf checks the offset; what it returns lives as long as the handle.
        let name = unsafe {
            let name = libbpf_sys::btf__name_by_offset(self.handle.as_ptr(), offset);
            name.as_ref().map(|name| CStr::from_ptr(name))
        };
        name.and_then(|name| name.to_str().ok()).unwrap_or_default()
    }

    /// The type behind `const`, typedefs and the like.
    fn resolve(&self, mut id: u32) -> Option<&btf_type> {
        use kind::{CONST, RESTRICT, TYPE_TAG, TYPEDEF, VOLATILE};
        loop {
            let ty = self.ty(id)?;
            if ![TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG].contains(&kind_of(ty)) {
                return Some(ty);
            }
            id = referenced(ty);
        }
    }

    /// What a type is to us.
    fn classify(&self, id: u32) -> Type {
        let Some(ty) = self.resolve(id).filter(|_| id != 0) else { return Type::Void };
        match kind_of(ty) {
            kind::PTR => self.classify_target(referenced(ty)),
            kind::INT => Type::Integer(size(ty), self.sign(ty)),
            kind::ENUM | kind::ENUM64 => Type::Enum(self.name(ty).to_owned()),
            kind::STRUCT | kind::UNION => Type::Aggregate,
            _ => Type::Void,
        }
    }

    /// What a pointer to a type is to us.
    fn classify_target(&self, id: u32) -> Type {
        let Some(ty) = self.resolve(id).filter(|_| id != 0) else { return Type::Pointer(String::new()) };
        match kind_of(ty) {
            kind::STRUCT => Type::Pointer(self.name(ty).to_owned()),
            kind::PTR => match self.classify_target(referenced(ty)) {
                Type::Pointer(name) if !name.is_empty() => Type::Reference(name),
                _ => Type::Pointer("?".to_owned()),
            },
            _ => Type::Pointer("?".to_owned()),
        }
    }

    /// Whether an integer has a sign: the encoding stands behind the type.
    fn sign(&self, ty: &btf_type) -> Signed {
        const SIGNED: u32 = 1;
        const BOOL: u32 = 4;
        // SAFETY: an INT is followed by a word that describes it.
        let encoding = unsafe { std::ptr::from_ref(ty).add(1).cast::<u32>().read() } >> 24 & 0xf;
        match encoding {
            e if e & BOOL != 0 => Signed::Bool,
            e if e & SIGNED != 0 => Signed::Yes,
            _ => Signed::No,
        }
    }
}

/// What follows a type: as many as its vlen says.
///
/// # Safety
///
/// The type's kind must be one that is followed by such members.
unsafe fn behind<T>(ty: &btf_type) -> &[T] {
    // SAFETY: libbpf checked the whole BTF when it was opened; the caller knows the kind.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(ty).add(1).cast(), vlen(ty)) }
}

/// The kind of a type.
fn kind_of(ty: &btf_type) -> u32 {
    ty.info >> 24 & 0x1f
}

/// How many members or parameters follow.
fn vlen(ty: &btf_type) -> usize {
    (ty.info & 0xffff) as usize
}

/// The type that a pointer, typedef, function or prototype refers to.
fn referenced(ty: &btf_type) -> u32 {
    // SAFETY: both members of the union are a u32.
    unsafe { ty.__bindgen_anon_1.type_ }
}

/// Bytes of a type.
fn size(ty: &btf_type) -> u32 {
    // SAFETY: both members of the union are a u32.
    unsafe { ty.__bindgen_anon_1.size }
}

#[cfg(test)]
mod root {
    use super::*;

    #[test]
    fn prototypes_are_read_from_the_kernel() {
        let Ok(btf) = Btf::kernel() else {
            return harness::skip("this kernel has no BTF");
        };
        let received = btf.prototype("ip_rcv").unwrap();
        assert_eq!(received.parameters[0], Type::Pointer("sk_buff".to_owned()));
        assert_eq!(received.returns, Type::Integer(4, Signed::Yes));
        let clone = btf.prototype("skb_clone").unwrap();
        assert_eq!(clone.returns, Type::Pointer("sk_buff".to_owned()));
    }

    #[test]
    fn hook_functions_are_told_by_their_prototype() {
        let Ok(btf) = Btf::kernel() else {
            return harness::skip("this kernel has no BTF");
        };
        assert!(btf.functions(Prototype::is_hook).iter().all(|name| *name != "nf_hook_slow"));
        assert!(!btf.prototype("ip_rcv").unwrap().is_hook());
    }
}
