//! The kernel's image, as it is committed beside its sources.

use std::sync::LazyLock;

use crate::image::Image;

/// The ELF file that `circuits/kernel/image/build` makes.
pub static KERNEL_ELF: &[u8] = include_bytes!("../../kernel/image/kernel.elf");

/// The kernel as a program of this machine: the one that is proven.
///
/// # Panics
/// Never: a test loads the committed file.
#[must_use]
pub fn kernel_image() -> &'static Image {
    static IMAGE: LazyLock<Image> =
        LazyLock::new(|| Image::from_elf(KERNEL_ELF).expect("a test loads the committed file"));
    &IMAGE
}
