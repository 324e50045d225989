//! Does a function always leave a mutable global as it found it?
//!
//! Compilers keep the stack pointer in a mutable global: a function lowers it on entry and raises
//! it again before it returns. Such a global holds no state between calls. A counter in a global
//! does, and would be lost. The two are told apart by following the value through the function:
//!
//! ```text
//!   global.get 0        found                    global.get 0     found
//!   i32.const 16                                 i32.const 1
//!   i32.sub             found - 16               i32.add          found + 1
//!   local.tee 1                                  global.set 0
//!   global.set 0                                 end              found + 1: not steady
//!   ...
//!   local.get 1         found - 16
//!   i32.const 16
//!   i32.add             found
//!   global.set 0
//!   end                 found: steady
//! ```
//!
//! A value is `found + n`, a constant, or unknown, and unknown is never equal to what was found. So
//! a steady verdict is a proof, given that each function called leaves the global as it found it,
//! which is checked for all of them; a function that traps does not count, as its instance dies. A
//! clever function may be refused although it is steady.

use std::ops::ControlFlow;

use wasmparser::{
    BinaryReaderError, FuncValidator, FunctionBody, Operator, OperatorsReader, WasmModuleResources,
};

/// What is known of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Unknown,
    Constant(i32),
    /// What the global held on entry, plus so many.
    Found(i32),
}

impl Value {
    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(a.wrapping_add(b)),
            (Self::Found(a), Self::Constant(b)) | (Self::Constant(b), Self::Found(a)) => {
                Self::Found(a.wrapping_add(b))
            }
            _ => Self::Unknown,
        }
    }

    fn minus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(a.wrapping_sub(b)),
            (Self::Found(a), Self::Constant(b)) => Self::Found(a.wrapping_sub(b)),
            _ => Self::Unknown,
        }
    }

    fn join(self, other: Self) -> Self {
        if self == other { self } else { Self::Unknown }
    }
}

/// What is known at one point of the function, its operands aside.
#[derive(Debug, Clone)]
struct State {
    global: Value,
    locals: Vec<Value>,
}

impl State {
    fn join(&mut self, other: &Self) {
        self.global = self.global.join(other.global);
        for (local, other) in self.locals.iter_mut().zip(&other.locals) {
            *local = local.join(*other);
        }
    }
}

/// One open `block`, `loop` or `if`; the outermost is the function.
struct Frame {
    kind: Kind,
    /// Operands below the frame's own.
    height: usize,
    /// What is known where the frame ends, from all branches to it so far.
    end: Option<State>,
}

enum Kind {
    Block,
    /// The global's value at the head, to which every branch to it must return.
    Loop(Value),
    /// What is known where the `else` begins; none once it has begun or if the `if` is dead.
    If(Option<State>),
}

struct Walk<'a> {
    global: u32,
    /// `None` after an instruction that does not continue.
    state: Option<State>,
    operands: Vec<Value>,
    frames: Vec<Frame>,
    /// For each loop, in order, the locals that it sets.
    loops: std::vec::IntoIter<Vec<u32>>,
    effort: &'a mut Effort,
}

/// Locals that are held at a time for the open blocks of one function: some 100 MiB. What compilers
/// make needs a thousandth of it.
const HELD_MAX: usize = 8 * 1024 * 1024;

/// Locals that may still be copied and compared to prove something of one component.
#[derive(Debug)]
pub(super) struct Effort(usize);

impl Effort {
    /// Some seconds. A JavaScript guest of 12 MB needs a twentieth of it, and for a component that is
    /// made to need more simply nothing is proven.
    pub(super) fn of_a_component() -> Self {
        Self(1_000_000_000)
    }

    fn spend(&mut self, locals: usize) -> ControlFlow<()> {
        let left = self.0.checked_sub(locals);
        self.0 = left.unwrap_or(0);
        left.map_or(ControlFlow::Break(()), |_| ControlFlow::Continue(()))
    }
}

/// Returns `Continue` if the function provably leaves the global as it found it, `Break` if not.
///
/// # Errors
///
/// What is wrong with the function, as far as it was read.
pub(super) fn leaves_global_as_found<R: WasmModuleResources>(
    global: u32,
    validator: &mut FuncValidator<R>,
    body: &FunctionBody<'_>,
    effort: &mut Effort,
) -> Result<ControlFlow<()>, BinaryReaderError> {
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader)?;
    if effort.spend(validator.len_locals() as usize).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let locals = vec![Value::Unknown; validator.len_locals() as usize];
    let Some(loops) = locals_set_in_loops(body, effort)? else {
        return Ok(ControlFlow::Break(()));
    };
    let mut walk = Walk {
        global,
        state: Some(State { global: Value::Found(0), locals }),
        operands: Vec::new(),
        frames: vec![Frame { kind: Kind::Block, height: 0, end: None }],
        loops: loops.into_iter(),
        effort,
    };
    let mut operators = OperatorsReader::new(reader);
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        // The arity depends on what is open before the instruction.
        let arity = operator.operator_arity(validator);
        validator.op(offset, &operator)?;
        if walk.step(&operator, arity, validator.operand_stack_height() as usize).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

impl Walk<'_> {
    fn step(
        &mut self,
        operator: &Operator<'_>,
        arity: Option<(u32, u32)>,
        height_after: usize,
    ) -> ControlFlow<()> {
        if matches!(
            operator,
            Operator::If { .. }
                | Operator::Else
                | Operator::End
                | Operator::Br { .. }
                | Operator::BrIf { .. }
                | Operator::BrTable { .. }
        ) {
            self.spend(operator)?;
        }
        match operator {
            Operator::Block { .. } => self.open(Kind::Block, height_after, arity),
            Operator::Loop { .. } => self.open_loop(height_after, arity),
            Operator::If { .. } => {
                self.pop();
                let state = self.state.clone();
                self.open(Kind::If(state), height_after, arity);
            }
            Operator::Else => self.begin_else(height_after),
            Operator::End => return self.close(height_after),
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth)?;
                self.state = None;
            }
            Operator::BrIf { relative_depth } => {
                self.pop();
                self.branch(*relative_depth)?;
            }
            Operator::BrTable { targets } => {
                for depth in targets.targets().chain([Ok(targets.default())]) {
                    // Unreadable targets have been refused by the validator.
                    self.branch(depth.unwrap_or(u32::MAX))?;
                }
                self.state = None;
            }
            Operator::Return
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. } => {
                self.leave_function()?;
                self.state = None;
            }
            Operator::Unreachable => self.state = None,
            _ => return self.compute(operator, arity, height_after),
        }
        ControlFlow::Continue(())
    }

    /// Counts what the instruction copies and compares.
    fn spend(&mut self, operator: &Operator<'_>) -> ControlFlow<()> {
        let states = match operator {
            Operator::BrTable { targets } => targets.len() as usize + 1,
            _ => 1,
        };
        let locals = self.state.as_ref().map_or(0, |state| state.locals.len());
        // Each open block may hold two states.
        if self.frames.len().saturating_mul(locals) > HELD_MAX {
            return ControlFlow::Break(());
        }
        self.effort.spend(states * (locals + 1))
    }

    /// Instructions that continue with the next one.
    fn compute(
        &mut self,
        operator: &Operator<'_>,
        arity: Option<(u32, u32)>,
        height_after: usize,
    ) -> ControlFlow<()> {
        // Also where it is not reached: it may open what an `end` closes.
        if may_branch(operator) {
            return ControlFlow::Break(());
        }
        let Some(state) = &mut self.state else { return ControlFlow::Continue(()) };
        match operator {
            Operator::GlobalGet { global_index } if *global_index == self.global => {
                self.operands.push(state.global);
            }
            Operator::GlobalSet { global_index } if *global_index == self.global => {
                state.global = self.operands.pop().unwrap_or(Value::Unknown);
            }
            Operator::LocalGet { local_index } => {
                self.operands.push(state.locals[*local_index as usize]);
            }
            Operator::LocalSet { local_index } => {
                let value = self.operands.pop().unwrap_or(Value::Unknown);
                state.locals[*local_index as usize] = value;
            }
            Operator::LocalTee { local_index } => {
                let value = self.operands.last().copied().unwrap_or(Value::Unknown);
                state.locals[*local_index as usize] = value;
            }
            Operator::I32Const { value } => self.operands.push(Value::Constant(*value)),
            Operator::I32Add => {
                let (right, left) = (self.pop(), self.pop());
                self.operands.push(left.plus(right));
            }
            Operator::I32Sub => {
                let (right, left) = (self.pop(), self.pop());
                self.operands.push(left.minus(right));
            }
            _ => {
                // An instruction that says nothing about its operands is not followed.
                let Some((taken, given)) = arity else { return ControlFlow::Break(()) };
                self.operands.truncate(self.operands.len().saturating_sub(taken as usize));
                let given = self.operands.len() + given as usize;
                self.operands.resize(given, Value::Unknown);
            }
        }
        // Both this walk and the validator count operands; if they disagree, nothing is proven.
        if self.operands.len() == height_after {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    fn pop(&mut self) -> Value {
        self.operands.pop().unwrap_or(Value::Unknown)
    }

    fn open(&mut self, kind: Kind, height_after: usize, arity: Option<(u32, u32)>) {
        // A block's parameters move into it; nothing is known of them there.
        let parameters = arity.map_or(0, |(_, given)| given as usize);
        let height = height_after.saturating_sub(parameters);
        self.operands.truncate(height);
        self.operands.resize(height_after, Value::Unknown);
        self.frames.push(Frame { kind, height, end: None });
    }

    fn open_loop(&mut self, height_after: usize, arity: Option<(u32, u32)>) {
        let set_within = self.loops.next().unwrap_or_default();
        let mut head = Value::Unknown;
        if let Some(state) = &mut self.state {
            // Later rounds find other values in them. One that there is not is refused later on.
            for local in set_within {
                if let Some(value) = state.locals.get_mut(local as usize) {
                    *value = Value::Unknown;
                }
            }
            head = state.global;
        }
        self.open(Kind::Loop(head), height_after, arity);
    }

    fn begin_else(&mut self, height_after: usize) {
        let then_end = self.state.take();
        let Some(frame) = self.frames.last_mut() else { return };
        join_into(&mut frame.end, then_end.as_ref());
        if let Kind::If(before) = &mut frame.kind {
            self.state = before.take();
        }
        let height = frame.height;
        self.operands.truncate(height);
        self.operands.resize(height_after, Value::Unknown);
    }

    fn close(&mut self, height_after: usize) -> ControlFlow<()> {
        let Some(mut frame) = self.frames.pop() else { return ControlFlow::Break(()) };
        join_into(&mut frame.end, self.state.as_ref());
        if let Kind::If(Some(before)) = &frame.kind {
            // Without an `else` the condition may skip everything.
            join_into(&mut frame.end, Some(before));
        }
        self.state = frame.end;
        if self.frames.is_empty() {
            return self.leave_function();
        }
        self.operands.truncate(frame.height);
        self.operands.resize(height_after, Value::Unknown);
        ControlFlow::Continue(())
    }

    fn branch(&mut self, depth: u32) -> ControlFlow<()> {
        let Some(state) = &self.state else { return ControlFlow::Continue(()) };
        let index = self.frames.len().checked_sub(depth as usize + 1);
        let Some(frame) = index.and_then(|index| self.frames.get_mut(index)) else {
            return ControlFlow::Break(());
        };
        match frame.kind {
            Kind::Loop(head) if head != state.global || head == Value::Unknown => {
                return ControlFlow::Break(());
            }
            Kind::Loop(_) => {}
            Kind::Block | Kind::If(_) => join_into(&mut frame.end, Some(state)),
        }
        ControlFlow::Continue(())
    }

    fn leave_function(&self) -> ControlFlow<()> {
        match &self.state {
            Some(state) if state.global != Value::Found(0) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn join_into(end: &mut Option<State>, other: Option<&State>) {
    match (end, other) {
        (_, None) => {}
        (Some(end), Some(other)) => end.join(other),
        (end @ None, Some(other)) => *end = Some(other.clone()),
    }
}

/// Instructions that may continue elsewhere in ways that the walk does not follow. Compilers for
/// linear memory do not emit them, and most are switched off.
fn may_branch(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::TryTable { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::Try { .. }
            | Operator::Catch { .. }
            | Operator::CatchAll
            | Operator::Delegate { .. }
            | Operator::Rethrow { .. }
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. }
            | Operator::BrOnCast { .. }
            | Operator::BrOnCastFail { .. }
            | Operator::ContNew { .. }
            | Operator::ContBind { .. }
            | Operator::Suspend { .. }
            | Operator::Resume { .. }
            | Operator::ResumeThrow { .. }
            | Operator::Switch { .. }
    )
}

/// Returns, for each loop in order, the locals that are set in it, inner loops included. `None` when
/// there is no effort left for it.
fn locals_set_in_loops(
    body: &FunctionBody<'_>,
    effort: &mut Effort,
) -> Result<Option<Vec<Vec<u32>>>, BinaryReaderError> {
    let mut set: Vec<Vec<u32>> = Vec::new();
    // For each open block, whether it is a loop; and the numbers of the open loops.
    let (mut open, mut loops) = (Vec::new(), Vec::new());
    let mut held = 0;
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::Loop { .. } => {
                open.push(true);
                loops.push(set.len());
                set.push(Vec::new());
            }
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                open.push(false);
            }
            Operator::End => {
                if open.pop() != Some(true) {
                    continue;
                }
                let Some(closed) = loops.pop() else { continue };
                set[closed].sort_unstable();
                set[closed].dedup();
                if let Some(outer) = loops.last() {
                    let inner = set[closed].clone();
                    held += inner.len();
                    if effort.spend(inner.len()).is_break() || held > HELD_MAX {
                        return Ok(None);
                    }
                    set[*outer].extend(inner);
                }
            }
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                if let Some(innermost) = loops.last() {
                    set[*innermost].push(local_index);
                }
            }
            _ => {}
        }
    }
    Ok(Some(set))
}
