//! What each process has mapped, for its children to come.

use crate::events::Module;
use crate::units::{Nanos, Pid};
use rustc_hash::FxHashMap;

/// Records of different processors may come in a later drain than those that they precede.
#[derive(Debug, Default)]
pub(super) struct Processes(FxHashMap<Pid, Inherited>);

#[derive(Debug, Default)]
struct Inherited {
    modules: Vec<Module>,
    /// When its last program was executed.
    executed: Option<Nanos>,
    children: Vec<(Nanos, Pid)>,
}

impl Processes {
    pub(super) fn mapped(&mut self, module: Module, out: &mut Vec<Module>) {
        let process = self.0.entry(module.pid).or_default();
        let heirs: Vec<_> = process
            .children
            .iter()
            .filter(|&&(born, _)| module.time < born)
            .copied()
            .collect();
        process.modules.push(module.clone());
        for (time, pid) in heirs {
            let module = Module {
                pid,
                time,
                ..module.clone()
            };
            self.mapped(module, out);
        }
        out.push(module);
    }

    pub(super) fn forked(&mut self, time: Nanos, parent: Pid, child: Pid, out: &mut Vec<Module>) {
        let process = self.0.entry(parent).or_default();
        process.children.push((time, child));
        let inherited: Vec<_> = process
            .modules
            .iter()
            .filter(|module| module.time <= time)
            .map(|module| Module {
                pid: child,
                time,
                ..module.clone()
            })
            .collect();
        for module in inherited {
            self.mapped(module, out);
        }
    }

    pub(super) fn executed(&mut self, time: Nanos, pid: Pid) {
        let process = self.0.entry(pid).or_default();
        process.modules.retain(|module| module.time >= time);
        process.executed = Some(time);
    }

    /// When the process executed its last program, where that was seen.
    pub(super) fn executed_at(&self, pid: Pid) -> Option<Nanos> {
        self.0.get(&pid)?.executed
    }

    /// Whether anything was seen of the process.
    pub(super) fn knows(&self, pid: Pid) -> bool {
        self.0.contains_key(&pid)
    }

    pub(super) fn exited(&mut self, pid: Pid) {
        self.0.remove(&pid);
    }
}
