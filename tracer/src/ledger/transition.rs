//! Which change of an image an event is.

use super::account::Oddities;
use super::history::Now;
use super::image::{Actor, Effect, Image};
use super::image::{Change, classify};
use super::mappings::page_range;
use crate::events::Body;
use crate::units::Address;

/// One event as a transition of the image that it happened in.
pub(super) fn transition(
    image: &mut Image,
    now: &Now,
    who: Actor,
    body: &Body,
    odd: &mut Oddities,
) -> Effect {
    let none = Effect::default();
    match *body {
        Body::Alloc { address, size, .. } => {
            image.callers.allocates(who.thread);
            image.alloc(now, who, address, size, odd)
        }
        Body::Free { address } => {
            image.callers.frees(who.thread);
            image.free(now, address, odd)
        }
        Body::ReallocEnter { address, .. } => {
            image.callers.allocates(who.thread);
            // A resize without an end: its exit was lost, or never came.
            odd.misplaced += u64::from(image.heap.end_resize(now, who.thread).is_some());
            odd.unknown_frees += u64::from(!image.heap.begin_resize(who.thread, address));
            none
        }
        Body::ReallocExit { address, size, .. } => image.resized(now, who, address, size, odd),
        Body::Map {
            address,
            length,
            prot,
            flags,
            fd,
            ..
        } => {
            let Some(range) = page_range(address, length) else {
                odd.misplaced += 1;
                return none;
            };
            let purpose = classify::purpose(image, &range, prot, flags, fd, who);
            let start = range.start;
            let effect = image.map(now, who, range, length, purpose);
            if classify::grows_down(flags) {
                image.mappings.set_growing_down(start);
            }
            effect
        }
        Body::Unmap { address, length } => match page_range(address, length) {
            Some(range) => image.unmap(now, who, &range),
            None => {
                image.no_effect(who);
                none
            }
        },
        Body::RemapEnter {
            address,
            length,
            flags,
            ..
        } => {
            let dont_unmap = classify::dont_unmap(flags);
            image.begin_move(now, who, address, length, dont_unmap, odd);
            none
        }
        Body::RemapExit { address, length } => image.end_move(now, who, address, length, odd),
        Body::Break { address } => image.set_break(now, who, address, odd),
        Body::Advise {
            address,
            length,
            advice,
        } => {
            advise(image, now, who, page_range(address, length), advice);
            none
        }
        Body::ShmAttach {
            address, length, ..
        } => image.attach(now, who, address, length),
        Body::ShmDetach { address } => image.detach(now, who, address),
        Body::Returned { syscall, errno, .. } => {
            image.returned(now, who, syscall, errno, odd);
            none
        }
        Body::Resident {
            member,
            size,
            cause,
            address,
            error_code,
            syscall,
            ..
        } => {
            let change = Change {
                member,
                size,
                cause,
                address,
                error_code,
                syscall,
            };
            Effect {
                touched: image.resident(now, who, change),
                ..none
            }
        }
        Body::Written { address } => Effect {
            touched: image.written(now, who, address),
            ..none
        },
        Body::Began { mapped, stack } => {
            image.widest.begin(mapped, stack);
            none
        }
        Body::CheckBegin => {
            image.begin_check(now);
            none
        }
        Body::Present {
            address,
            length,
            member,
        } => {
            image.checks.present(address, length, member);
            none
        }
        Body::CheckEnd => {
            image.end_check(now);
            none
        }
        // Of processes, not of an image.
        Body::Fork { .. } | Body::Exec { .. } | Body::Exit { .. } | Body::Usage { .. } => none,
    }
}

fn advise(
    image: &mut Image,
    now: &Now,
    who: Actor,
    range: Option<std::ops::Range<Address>>,
    advice: u32,
) {
    let Some(range) = range else {
        image.no_effect(who);
        return;
    };
    match classify::advice(advice) {
        classify::Advice::Discards => image.discard(now, who, &range),
        classify::Advice::Populates => {
            image.no_effect(who);
            image.expect_filling(who.thread, &range);
        }
        classify::Advice::Inherits(inherited) => image.inherit(who, &range, inherited),
        classify::Advice::Neither => image.no_effect(who),
    }
}
