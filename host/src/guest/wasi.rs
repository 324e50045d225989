//! What of WASI 0.2 a guest is offered: what compilers and runtimes ask for before a player does anything.
//!
//! | interfaces | are |
//! |---|---|
//! | `clocks` | the day's time and a steady time, each call's own; waiting traps |
//! | `random` | random |
//! | `cli` | no arguments, no variables, no terminal; standard input is at its end, lines of standard output and error go to the node's log; `exit` traps |
//! | `filesystem` | empty: there is no folder in which a file could be opened |
//! | `sockets`, `http`, others | refused when the component is loaded |
//!
//! `filesystem` is there although nobody can use it: the C libraries of JavaScript, Python and C import
//! it with any of the others, and what cannot be refused without refusing them may as well be empty.
//!
//! **During a start** all clocks stand at 0 and random numbers are always the same ones: all instances
//! of a code begin with one image, on every node. So the seeds of a guest's hash tables, if it draws them
//! at its start, are fixed for its code.
//!
//! **No handle outlives a call.** The host forgets them with the instance, and a guest that still knew one
//! after a restart would use another or none. So a call that keeps one traps, and says so, instead of
//! working until the player moves.

mod streams;

use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{
    Component, ComponentNamedList, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource,
    ResourceType,
};
use wasmtime::{Result, StoreContextMut, bail};

pub(super) use self::streams::Wasi;
use super::journal::Journal;
use crate::clock;
use crate::limits::GUEST_WASI_BYTES_MAX;

/// The interfaces, without `wasi:` and version.
const OFFERED: [&str; 20] = [
    "cli/environment",
    "cli/exit",
    "cli/stderr",
    "cli/stdin",
    "cli/stdout",
    "cli/terminal-input",
    "cli/terminal-output",
    "cli/terminal-stderr",
    "cli/terminal-stdin",
    "cli/terminal-stdout",
    "clocks/monotonic-clock",
    "clocks/wall-clock",
    "filesystem/preopens",
    "filesystem/types",
    "io/error",
    "io/poll",
    "io/streams",
    "random/insecure",
    "random/insecure-seed",
    "random/random",
];

/// Returns which of the offered interfaces an import is.
pub(super) fn offered(import: &str) -> Option<&'static str> {
    let (name, version) = import.strip_prefix("wasi:")?.split_once('@')?;
    let name = OFFERED.into_iter().find(|offered| *offered == name)?;
    version.starts_with("0.2.").then_some(name)
}

/// Whether an import is part of the network, which no player has.
pub(super) fn is_network(import: &str) -> bool {
    import.starts_with("wasi:sockets/") || import.starts_with("wasi:http/")
}

/// Adds what a component imports of WASI to what it is offered.
pub(super) fn offer(
    engine: &wasmtime::Engine,
    linker: &mut Linker<Journal>,
    component: &Component,
) -> Result<()> {
    for (import, item) in component.component_type().imports(engine) {
        if let ComponentItem::ComponentInstance(instance) = item.ty
            && let Some(interface) = offered(import)
        {
            let items = &mut linker.instance(import)?;
            offer_interface(engine, items, interface, &instance)?;
        }
    }
    Ok(())
}

fn offer_interface(
    engine: &wasmtime::Engine,
    items: &mut LinkerInstance<'_, Journal>,
    interface: &'static str,
    asked: &ComponentInstance,
) -> Result<()> {
    for (name, item) in asked.exports(engine) {
        match item.ty {
            ComponentItem::Resource(_) => {
                items.resource(name, kind_of_handle(name), |mut store, _| {
                    store.data_mut().wasi().drop_handle();
                    Ok(())
                })?;
            }
            ComponentItem::ComponentFunc(_) => offer_or_trap(items, interface, name)?,
            _ => {}
        }
    }
    Ok(())
}

/// Offers a function, if only one that traps.
fn offer_or_trap(
    items: &mut LinkerInstance<'_, Journal>,
    interface: &'static str,
    name: &str,
) -> Result<()> {
    if offer_function(items, interface, name)? {
        return Ok(());
    }
    let called = name.to_owned();
    items.func_new(name, move |_, _, _, _| {
        bail!("called `{called}` of `wasi:{interface}`, which does nothing for a player")
    })
}

/// Returns the type of a handle. All have the same type wherever they are used.
fn kind_of_handle(name: &str) -> ResourceType {
    match name {
        "input-stream" => ResourceType::host::<Input>(),
        "output-stream" => ResourceType::host::<Output>(),
        "error" => ResourceType::host::<Failure>(),
        "terminal-input" => ResourceType::host::<TerminalInput>(),
        "terminal-output" => ResourceType::host::<TerminalOutput>(),
        "descriptor" => ResourceType::host::<Descriptor>(),
        _ => ResourceType::host::<Never>(),
    }
}

/// Standard input.
enum Input {}
/// Standard output or standard error, by its number in `Stream`.
enum Output {}
/// A failure of a stream. There is none.
enum Failure {}
/// A terminal. There is none.
enum TerminalInput {}
/// A terminal. There is none.
enum TerminalOutput {}
/// An open file or folder. There is none.
enum Descriptor {}
/// Something else that no function returns.
enum Never {}

/// `datetime`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    #[component(name = "seconds")]
    seconds: u64,
    #[component(name = "nanoseconds")]
    nanoseconds: u32,
}

/// Offers a function if it does something.
fn offer_function(
    items: &mut LinkerInstance<'_, Journal>,
    interface: &str,
    name: &str,
) -> Result<bool> {
    match (interface, name) {
        ("clocks/monotonic-clock", "now") => answer(items, name, |journal, ()| {
            let nanos = journal.wasi().time(clock::steady_unix_time).as_nanos();
            Ok((u64::try_from(nanos).unwrap_or(u64::MAX),))
        }),
        ("clocks/monotonic-clock", "resolution") => answer(items, name, |_, ()| Ok((1u64,))),
        ("clocks/wall-clock", "now") => answer(items, name, |journal, ()| {
            let time = journal.wasi().time(clock::unix_time);
            Ok((Datetime { seconds: time.as_secs(), nanoseconds: time.subsec_nanos() },))
        }),
        ("clocks/wall-clock", "resolution") => {
            answer(items, name, |_, ()| Ok((Datetime { seconds: 0, nanoseconds: 1 },)))
        }
        ("random/random", "get-random-bytes")
        | ("random/insecure", "get-insecure-random-bytes") => {
            answer(items, name, |journal, (len,): (u64,)| {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                if len > GUEST_WASI_BYTES_MAX {
                    bail!("drew {len} random bytes at once: {GUEST_WASI_BYTES_MAX} are the most");
                }
                Ok((journal.wasi().random_bytes(len),))
            })
        }
        ("random/random", "get-random-u64") | ("random/insecure", "get-insecure-random-u64") => {
            answer(items, name, |journal, ()| Ok((journal.wasi().random(),)))
        }
        ("random/insecure-seed", "insecure-seed") => answer(items, name, |journal, ()| {
            Ok(((journal.wasi().random(), journal.wasi().random()),))
        }),
        ("cli/environment", "get-environment") => {
            answer(items, name, |_, ()| Ok((Vec::<(String, String)>::new(),)))
        }
        ("cli/environment", "get-arguments") => {
            answer(items, name, |_, ()| Ok((Vec::<String>::new(),)))
        }
        ("cli/environment", "initial-cwd") => answer(items, name, |_, ()| Ok((None::<String>,))),
        ("cli/exit", "exit") => answer(items, name, |_, (status,): (Result<(), ()>,)| {
            let how = if status.is_ok() { "success" } else { "failure" };
            bail!("ended itself with `exit`, as a {how}: a player returns from its calls");
            #[expect(unreachable_code, reason = "says the type of what is returned")]
            Ok(())
        }),
        ("cli/terminal-stdin", "get-terminal-stdin") => {
            answer(items, name, |_, ()| Ok((None::<Resource<TerminalInput>>,)))
        }
        ("cli/terminal-stdout", "get-terminal-stdout")
        | ("cli/terminal-stderr", "get-terminal-stderr") => {
            answer(items, name, |_, ()| Ok((None::<Resource<TerminalOutput>>,)))
        }
        ("filesystem/preopens", "get-directories") => {
            answer(items, name, |_, ()| Ok((Vec::<(Resource<Descriptor>, String)>::new(),)))
        }
        _ => streams::offer_function(items, interface, name),
    }
}

/// Offers a function that does this.
fn answer<Params, Return>(
    items: &mut LinkerInstance<'_, Journal>,
    name: &str,
    function: impl Fn(&mut Journal, Params) -> Result<Return> + Send + Sync + 'static,
) -> Result<bool>
where
    Params: ComponentNamedList + Lift + 'static,
    Return: ComponentNamedList + Lower + 'static,
{
    let call =
        move |mut store: StoreContextMut<'_, Journal>, params| function(store.data_mut(), params);
    items.func_wrap(name, call).map(|()| true)
}
