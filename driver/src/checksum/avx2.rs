//! The wide loop compiled for AVX2.

/// The unfolded sum of `data`, if this machine has AVX2.
pub(super) fn sum(data: &[u8]) -> Option<u64> {
    if !std::arch::is_x86_feature_detected!("avx2") {
        return None;
    }
    // SAFETY: the machine has AVX2, as just asked (the answer is cached by the standard library).
    Some(unsafe { lanes(data) })
}

#[target_feature(enable = "avx2")]
fn lanes(data: &[u8]) -> u64 {
    super::portable::lanes(data)
}
