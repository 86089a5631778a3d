# shellcheck shell=bash
# Builds the `outlive` command and says where it is.

# build_release: the optimised command, in $OUTLIVE; nothing is built if that names a program already.
build_release() {
  [[ -z ${OUTLIVE:-} ]] || return 0
  step "Building (release)"
  (cd "$ROOT" && cargo build --release --locked --quiet -p outlive-cli)
  OUTLIVE=$(target_directory)/release/outlive
  export OUTLIVE
}

# target_directory: where cargo puts what it builds.
target_directory() { echo "${CARGO_TARGET_DIR:-$ROOT/target}"; }
