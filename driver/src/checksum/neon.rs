//! The wide loop compiled for NEON.

/// The unfolded sum of `data`, if this machine has NEON.
pub(super) fn sum(data: &[u8]) -> Option<u64> {
    if !std::arch::is_aarch64_feature_detected!("neon") {
        return None;
    }
    // SAFETY: the machine has NEON, as just asked (the answer is cached by the standard library).
    Some(unsafe { lanes(data) })
}

#[target_feature(enable = "neon")]
fn lanes(data: &[u8]) -> u64 {
    super::portable::lanes(data)
}
