# shellcheck shell=bash
# Finds out what a machine lacks and installs it: Debian packages and a Rust that is new enough.
# Everything is looked for first, so that root is asked for once, and only if something is missing.

# What is installed where no Rust is new enough: a version whose lints are known to find nothing here.
CHECKED_RUST=1.95.0

# The Debian package that brings each tool.
package_of() {
  case $1 in
    cc) echo "gcc libc6-dev" ;;
    ip | tc | bridge) echo iproute2 ;;
    unshare | nsenter | setpriv | setsid | taskset) echo util-linux ;;
    ffprobe) echo ffmpeg ;;
    ping) echo iputils-ping ;;
    sysctl) echo procps ;;
    column) echo bsdextrautils ;;
    nft) echo nftables ;;
    dnsmasq) echo dnsmasq-base ;;
    scapy) echo python3-scapy ;;
    update-ca-certificates) echo ca-certificates ;;
    *) echo "$1" ;;
  esac
}

# as_root COMMAND...: runs it as root; asks through sudo if need be.
as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root once and there is no sudo; run as root: $*"
  fi
}

# setup TOOL...: installs the packages of those that are missing, and Rust if something is to be built.
setup() {
  # Root of a container may be told nothing of its home.
  export HOME=${HOME:-$(getent passwd "$EUID" | cut -d: -f6)}
  PATH=$HOME/.cargo/bin:$PATH:/usr/sbin:/sbin
  export CARGO_NET_RETRY=${CARGO_NET_RETRY:-10}
  local tools=("$@" cc)
  if [[ -n ${OUTLIVE:-} ]]; then
    setup_tools "$@"
    return
  fi
  rust_is_new_enough || command -v rustup >/dev/null || tools+=(curl update-ca-certificates)
  setup_tools "${tools[@]}"
  setup_rust
}

# again COMMAND...: up to five times, as servers that things come from may be busy.
again() {
  local attempt
  for attempt in 1 2 3 4; do
    ! "$@" || return 0
    sleep $((attempt * 5))
  done
  "$@"
}

setup_tools() {
  local tool packages=()
  for tool in "$@"; do
    # shellcheck disable=SC2207  # package names have no spaces; a tool may need two packages
    command -v "$tool" >/dev/null || packages+=($(package_of "$tool"))
  done
  ((${#packages[@]})) || return 0
  command -v apt-get >/dev/null \
    || die "missing: ${packages[*]} (installed by itself on Debian only; install them and run this again)"
  step "Installing ${packages[*]}"
  again as_root apt-get update -qq
  again as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
  for tool in "$@"; do
    command -v "$tool" >/dev/null || die "$tool is still missing after installing ${packages[*]}"
  done
}

# rust_is_new_enough: whether `cargo` satisfies rust-version of the workspace.
rust_is_new_enough() {
  local needed found
  command -v cargo >/dev/null || return 1
  needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
  found=$(cd "$ROOT" && cargo --version 2>/dev/null | awk '{ print $2 }') || return 1
  [[ -n $found && $(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -1) == "$needed" ]]
}

setup_rust() {
  local missing=()
  if ! rust_is_new_enough; then
    command -v rustup >/dev/null || setup_rustup
    step "Installing Rust $CHECKED_RUST"
    again rustup -q toolchain install "$CHECKED_RUST" --profile minimal >/dev/null
    rustup -q default "$CHECKED_RUST" >/dev/null
    rust_is_new_enough || die "cargo is older than rust-version in Cargo.toml; run: rustup update stable"
  fi
  cargo clippy --version >/dev/null 2>&1 || missing+=(clippy)
  cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt)
  ((${#missing[@]})) || return 0
  command -v rustup >/dev/null || die "missing: ${missing[*]}, and no rustup that could add them"
  again rustup -q component add "${missing[@]}"
}

# From its makers, without root: Debian's own package is there since 13 only.
setup_rustup() {
  local folder
  step "Installing rustup from https://static.rust-lang.org"
  folder=$(mktemp -d)
  again curl --proto '=https' --tlsv1.2 -sSf -o "$folder/rustup-init" \
    "https://static.rust-lang.org/rustup/dist/$(uname -m)-unknown-linux-gnu/rustup-init"
  chmod +x "$folder/rustup-init"
  "$folder/rustup-init" -y -q --profile minimal --default-toolchain none --no-modify-path >/dev/null
  rm -r "$folder"
}

# setup_network: namespaces and /dev/net/tun must be usable, or one line says what to do.
setup_network() {
  if ((EUID == 0)) && [[ ! -e /dev/net/tun ]]; then
    modprobe tun 2>/dev/null || true
  fi
  [[ -e /dev/net/tun ]] || die "/dev/net/tun does not exist; run as root: modprobe tun"
  if ((EUID != 0)); then
    unshare -U -r true 2>/dev/null || die "user namespaces are not allowed here; run this as root, or allow them as root: $(userns_switch)"
    [[ -r /dev/net/tun && -w /dev/net/tun ]] \
      || die "/dev/net/tun: permission denied; run this as root, or open it to users as Debian does: sudo chmod 0666 /dev/net/tun"
  else
    unshare -n true 2>/dev/null || die "network namespaces are not allowed here (a container without CAP_SYS_ADMIN?)"
  fi
}

userns_switch() {
  if [[ -e /proc/sys/kernel/apparmor_restrict_unprivileged_userns ]]; then
    echo "sysctl kernel.apparmor_restrict_unprivileged_userns=0"
  elif [[ -e /proc/sys/kernel/unprivileged_userns_clone ]]; then
    echo "sysctl kernel.unprivileged_userns_clone=1"
  else
    echo "sysctl user.max_user_namespaces=10000"
  fi
}
