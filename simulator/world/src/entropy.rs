//! Randomness that a seed repeats, for libraries that ask the operating system.
//!
//! Hash maps, tokio's `select!` and ring draw from the operating system, by two functions of the C library: `getrandom`, and `syscall`
//! with its number. This file defines both, so that the linker takes these for all of the program and the other libraries find
//! them by `dlsym`. On a thread that was seeded they give the seed's bytes; on others, the system's.
#![allow(
    unsafe_code,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "functions of the C library's names and signatures, whose arguments are words of the machine"
)]

use std::cell::RefCell;
use std::ffi::{c_long, c_uint, c_void};

use ahash::random_state::{RandomSource, set_random_source};

use crate::Chance;

thread_local! {
    static SEEDED: RefCell<Option<Chance>> = const { RefCell::new(None) };
}

/// From now on this thread's randomness follows from the seed. Has to come before anything draws any: to be called first in a
/// program that simulates one seed and ends, since libraries count what they make in a process.
pub fn follow(seed: u64) {
    // What is drawn once for the whole process is the same for all seeds.
    set(Some(Chance::new(0)));
    // Refused where it was set before, which is then by this function.
    let _ = set_random_source(Hashers);
    let _ = ahash::RandomState::new();
    set(Some(Chance::new(seed).of("entropy")));
    // What jitters kube's pauses; by itself it follows from the time.
    fastrand::seed(seed);
}

fn set(chance: Option<Chance>) {
    SEEDED.with(|seeded| *seeded.borrow_mut() = chance);
}

fn draw() -> Option<u64> {
    // A thread that ends has no thread-local data any more.
    let number = SEEDED.try_with(|seeded| Some(seeded.try_borrow_mut().ok()?.as_mut()?.number()));
    number.ok().flatten()
}

/// The seeds of the maps that kube keeps its caches in; by themselves they follow from addresses in memory.
struct Hashers;

impl RandomSource for Hashers {
    fn gen_hasher_seed(&self) -> usize {
        draw()
            .and_then(|number| usize::try_from(number).ok())
            .unwrap_or_default()
    }
}

/// Fills the memory with the seed's bytes; whether this thread has a seed.
///
/// # Safety
/// `buffer` has to be valid for `length` bytes to be written.
unsafe fn fill(buffer: *mut u8, length: usize) -> bool {
    let mut filled = 0;
    while filled < length {
        let Some(number) = draw() else { return false };
        let bytes = number.to_le_bytes();
        let count = bytes.len().min(length - filled);
        // SAFETY: `filled + count` is at most `length`, for which the caller answers; `bytes` is this function's own.
        unsafe { buffer.add(filled).copy_from_nonoverlapping(bytes.as_ptr(), count) };
        filled += count;
    }
    true
}

/// The C library's function of that name: <https://man7.org/linux/man-pages/man2/getrandom.2.html>.
///
/// # Safety
/// `buffer` has to be valid for `length` bytes to be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    // SAFETY: the caller answers for the buffer.
    if length > 0 && unsafe { fill(buffer.cast(), length) } {
        return isize::try_from(length).unwrap_or(-1);
    }
    // SAFETY: the arguments are those of this system call, and the caller answers for the buffer.
    let result = unsafe {
        raw(
            libc::SYS_getrandom,
            [buffer as c_long, length as c_long, c_long::from(flags), 0, 0, 0],
        )
    };
    isize::try_from(checked(result)).unwrap_or(-1)
}

/// The C library's function of that name: <https://man7.org/linux/man-pages/man2/syscall.2.html>. Callers give it as many arguments
/// as they have; the others hold anything, and the system does not look at them.
///
/// # Safety
/// The arguments have to be what that system call takes.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    first: c_long,
    second: c_long,
    third: c_long,
    fourth: c_long,
    fifth: c_long,
    sixth: c_long,
) -> c_long {
    if number == libc::SYS_getrandom {
        // SAFETY: these are that call's first three arguments, for which the caller answers.
        let filled = unsafe { getrandom(first as *mut c_void, second as usize, third as c_uint) };
        return c_long::try_from(filled).unwrap_or(-1);
    }
    // SAFETY: the caller answers for the arguments.
    checked(unsafe { raw(number, [first, second, third, fourth, fifth, sixth]) })
}

/// The result as the C library's functions give it: -1 and `errno` for an error.
fn checked(result: c_long) -> c_long {
    if !(-4095..0).contains(&result) {
        return result;
    }
    // SAFETY: it is this thread's own `errno`, which lives as long as the thread.
    unsafe { *libc::__errno_location() = i32::try_from(-result).unwrap_or(libc::EINVAL) };
    -1
}

/// The system call itself.
///
/// # Safety
/// The arguments have to be what that system call takes.
#[cfg(target_arch = "x86_64")]
unsafe fn raw(number: c_long, arguments: [c_long; 6]) -> c_long {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result;
    // SAFETY: the kernel's calling convention; it overwrites rcx and r11 and leaves the stack alone.
    unsafe {
        std::arch::asm!(
            "syscall", inlateout("rax") number => result,
            in("rdi") first, in("rsi") second, in("rdx") third, in("r10") fourth, in("r8") fifth, in("r9") sixth,
            lateout("rcx") _, lateout("r11") _, options(nostack)
        );
    }
    result
}

/// The system call itself.
///
/// # Safety
/// The arguments have to be what that system call takes.
#[cfg(target_arch = "aarch64")]
unsafe fn raw(number: c_long, arguments: [c_long; 6]) -> c_long {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result;
    // SAFETY: the kernel's calling convention; it leaves the stack alone.
    unsafe {
        std::arch::asm!(
            "svc 0", in("x8") number, inlateout("x0") first => result,
            in("x1") second, in("x2") third, in("x3") fourth, in("x4") fifth, in("x5") sixth, options(nostack)
        );
    }
    result
}
