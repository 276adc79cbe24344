//! The kernel as a program of the machine: reads a segment's private input, runs it, commits what it proved.
//!
//! Nothing is decided here. The state transition is `joule_kernel`; this crate gives it memory and the machine's precompiles.
#![no_std]
#![no_main]

extern crate alloc;

mod calls;
mod crypto;
mod heap;
mod memory;
mod start;

use joule_kernel::run_segment;

use crypto::Precompiles;

/// Where [`start`] jumps to, with a stack and nothing else.
#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    match run_segment::<Precompiles>(calls::input(), &mut Precompiles) {
        Ok(output) => {
            calls::commit(output.chain_id, &output.from.0, &output.to.0);
            calls::halt(0)
        }
        // There is no proof of an abort, and the code is for people: the interpreter's caller learns the reason from the native kernel.
        Err(_) => calls::halt(2),
    }
}

/// A panic is a broken invariant. It has no proof either.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    calls::halt(1)
}
