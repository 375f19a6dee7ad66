//! Who is told what a trace sees.

use crate::events::{Captured, Command, Event, Lost, Mark, Module};

/// Is told what a trace sees, by the thread that takes it in: what takes long here costs the
/// target room in the ring buffer.
///
/// Events come in the order of the ring buffer. A module is told before the events of its code,
/// a stack at any time, also after events that name it.
pub trait Consumer: Send {
    /// Something happened.
    fn event(&mut self, event: &Event);

    /// The frames of a stack.
    fn stack(&mut self, _: &Captured) {}

    /// A file was mapped with execute permission.
    fn module(&mut self, _: &Module) {}

    /// A process executed a command.
    fn command(&mut self, _: &Command) {}

    /// A program named the moment.
    fn mark(&mut self, _: &Mark) {}

    /// A round of what was there is told. `lost` reads what was lost until now, at a system call
    /// for each counter; nothing where it can't be read.
    fn told(&mut self, _lost: &dyn Fn() -> Option<Vec<Lost>>) {}

    /// Nothing is waiting to be told.
    fn idle(&mut self) {}
}

impl<A: Consumer, B: Consumer> Consumer for (A, B) {
    fn event(&mut self, event: &Event) {
        self.0.event(event);
        self.1.event(event);
    }

    fn stack(&mut self, stack: &Captured) {
        self.0.stack(stack);
        self.1.stack(stack);
    }

    fn module(&mut self, module: &Module) {
        self.0.module(module);
        self.1.module(module);
    }

    fn command(&mut self, command: &Command) {
        self.0.command(command);
        self.1.command(command);
    }

    fn mark(&mut self, mark: &Mark) {
        self.0.mark(mark);
        self.1.mark(mark);
    }

    fn told(&mut self, lost: &dyn Fn() -> Option<Vec<Lost>>) {
        self.0.told(lost);
        self.1.told(lost);
    }

    fn idle(&mut self) {
        self.0.idle();
        self.1.idle();
    }
}

impl<C: Consumer> Consumer for Option<C> {
    fn event(&mut self, event: &Event) {
        if let Some(consumer) = self {
            consumer.event(event);
        }
    }

    fn stack(&mut self, stack: &Captured) {
        if let Some(consumer) = self {
            consumer.stack(stack);
        }
    }

    fn module(&mut self, module: &Module) {
        if let Some(consumer) = self {
            consumer.module(module);
        }
    }

    fn command(&mut self, command: &Command) {
        if let Some(consumer) = self {
            consumer.command(command);
        }
    }

    fn mark(&mut self, mark: &Mark) {
        if let Some(consumer) = self {
            consumer.mark(mark);
        }
    }

    fn told(&mut self, lost: &dyn Fn() -> Option<Vec<Lost>>) {
        if let Some(consumer) = self {
            consumer.told(lost);
        }
    }

    fn idle(&mut self) {
        if let Some(consumer) = self {
            consumer.idle();
        }
    }
}
