//! The sysctls of the network namespace that we run in. Scripts set them to say how a connection is to
//! behave; those that have a meaning here are honoured, the others do no harm.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use outlive::tcp::config::{Ecn, MtuProbing, ProbeWhen, Secret};
use outlive::tcp::{Algorithm, Config, KeepAlive, SocketOptions};
use outlive_posix::{Defaults, FastOpenPolicy};

/// What Linux keeps beside the bytes of a packet.
const BOOKKEEPING_BYTES: usize = 1280;

/// Where they are read from.
#[derive(Clone, Debug)]
pub(crate) struct Sysctls {
    root: PathBuf,
}

impl Sysctls {
    pub(crate) fn under(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(name)).ok()
    }

    fn numbers<T: FromStr>(&self, name: &str) -> Option<Vec<T>> {
        let text = self.text(name)?;
        text.split_whitespace()
            .map(|word| word.parse().ok())
            .collect()
    }

    fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.numbers(name)?.into_iter().next()
    }

    fn switch(&self, name: &str, default: bool) -> bool {
        self.number::<i64>(name).map_or(default, |value| value != 0)
    }

    fn seconds(&self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_secs)
    }

    /// Least, default and largest buffer.
    fn buffers(&self, name: &str, default: [usize; 3]) -> [usize; 3] {
        let numbers = self.numbers(name).unwrap_or_default();
        numbers.try_into().unwrap_or(default)
    }

    /// What sockets begin with.
    pub(crate) fn defaults(&self) -> Defaults {
        let [_, send_buffer, _] = self.buffers("ipv4/tcp_wmem", [4096, 16_384, 4_194_304]);
        let [_, receive_buffer, _] = self.buffers("ipv4/tcp_rmem", [4096, 131_072, 6_291_456]);
        let max = |name| self.number(name).unwrap_or(212_992);
        Defaults {
            tcp: SocketOptions {
                // A script may set others between two sockets.
                protocol: Some(Arc::new(self.config())),
                ..self.socket_options()
            },
            keep_alive: self.keep_alive(),
            send_buffer: send_buffer as u32,
            receive_buffer: receive_buffer as u32,
            fast_open: self.fast_open(),
            max_buffers: (max("core/wmem_max"), max("core/rmem_max")),
        }
    }

    fn fast_open(&self) -> FastOpenPolicy {
        let bits: u32 = self.number("ipv4/tcp_fastopen").unwrap_or(1);
        FastOpenPolicy {
            client: bits & 1 != 0,
            client_without_cookie: bits & 4 != 0,
            server: bits & 2 != 0,
            to_all: bits & 0x200 != 0,
            unasked: bits & 0x400 != 0,
        }
    }

    /// Four words of the key, of which the first may be followed by another key, that of before.
    fn fast_open_secret(&self) -> Option<Secret> {
        let text = self.text("ipv4/tcp_fastopen_key")?;
        let mut secret = [0; 16];
        let (words, _) = secret.as_chunks_mut::<4>();
        let key = text.trim().split(',').next()?;
        for (word, hex) in words.iter_mut().zip(key.split('-')) {
            *word = u32::from_str_radix(hex, 16).ok()?.to_le_bytes();
        }
        (secret != [0; 16]).then_some(Secret(secret))
    }

    /// A namespace begins with the algorithm of its host, and where that is none of Linux's own, scripts cannot choose
    /// CUBIC, for which they are written: then what the namespace says is nobody's choice.
    fn has_a_choice(&self) -> bool {
        let allowed = self.text("ipv4/tcp_allowed_congestion_control");
        allowed.is_none_or(|names| names.split_whitespace().any(|name| name == "cubic"))
    }

    fn socket_options(&self) -> SocketOptions {
        let algorithm = self.text("ipv4/tcp_congestion_control");
        SocketOptions {
            algorithm: match algorithm.as_deref().map(str::trim) {
                Some("reno") => Algorithm::NewReno,
                Some("bbr") if self.has_a_choice() => Algorithm::Bbr,
                _ => Algorithm::default(),
            },
            syn_retries: self.number("ipv4/tcp_syn_retries"),
            ttl: self.number("ipv4/ip_default_ttl").unwrap_or(64),
            ..SocketOptions::default()
        }
    }

    /// The times of keep-alive, for sockets that switch it on.
    fn keep_alive(&self) -> KeepAlive {
        let default = KeepAlive::default();
        KeepAlive {
            idle: self
                .seconds("ipv4/tcp_keepalive_time")
                .unwrap_or(default.idle),
            interval: self
                .seconds("ipv4/tcp_keepalive_intvl")
                .unwrap_or(default.interval),
            probes: self
                .number("ipv4/tcp_keepalive_probes")
                .unwrap_or(default.probes),
        }
    }

    fn mtu_probing(&self) -> MtuProbing {
        let default = MtuProbing::default();
        MtuProbing {
            when: match self.number("ipv4/tcp_mtu_probing") {
                Some(1_u8) => ProbeWhen::Reduced,
                Some(2) => ProbeWhen::Always,
                _ => ProbeWhen::Never,
            },
            base_mss: self.number("ipv4/tcp_base_mss").unwrap_or(default.base_mss),
            floor_mss: self
                .number("ipv4/tcp_mtu_probe_floor")
                .unwrap_or(default.floor_mss),
            threshold_bytes: self
                .number("ipv4/tcp_probe_threshold")
                .unwrap_or(default.threshold_bytes),
            interval: self
                .seconds("ipv4/tcp_probe_interval")
                .unwrap_or(default.interval),
        }
    }

    /// What holds for all connections.
    pub(crate) fn config(&self) -> Config {
        let [_, send, max_send] = self.buffers("ipv4/tcp_wmem", [4096, 16_384, 4_194_304]);
        let [_, receive, max_receive] = self.buffers("ipv4/tcp_rmem", [4096, 131_072, 6_291_456]);
        let rmem_max = self.number("core/rmem_max").unwrap_or(0);
        let default = Config::default();
        Config {
            sack: self.switch("ipv4/tcp_sack", true),
            timestamps: self.switch("ipv4/tcp_timestamps", true),
            window_scaling: self.switch("ipv4/tcp_window_scaling", true),
            ecn: match self.number("ipv4/tcp_ecn") {
                Some(0_u8) => Ecn::Off,
                Some(1 | 4) => Ecn::Active,
                Some(3) => Ecn::Accurate,
                _ => Ecn::Passive,
            },
            tail_loss_probe: self.number("ipv4/tcp_early_retrans").unwrap_or(3) >= 3_u8,
            slow_start_after_idle: self.switch("ipv4/tcp_slow_start_after_idle", true),
            mtu_probing: self.mtu_probing(),
            limited_times: true,
            initial_send_buffer_bytes: send,
            bookkeeping_bytes: BOOKKEEPING_BYTES,
            max_send_buffer_bytes: max_send,
            // As Linux: half of a buffer is for data, the window's scale is that of the whole.
            initial_receive_buffer_bytes: receive / 2,
            max_receive_buffer_bytes: max_receive.max(rmem_max),
            burst_window_divisor: self.number("ipv4/tcp_tso_win_divisor").unwrap_or(3),
            time_wait_ignores_resets: self.switch("ipv4/tcp_rfc1337", false),
            syn_retries: self.number("ipv4/tcp_syn_retries").unwrap_or(6),
            min_burst_segments: Some(self.number("ipv4/tcp_min_tso_segs").unwrap_or(2)),
            retries: self.number("ipv4/tcp_retries2").unwrap_or(15),
            fin_wait_2: self
                .seconds("ipv4/tcp_fin_timeout")
                .unwrap_or(default.fin_wait_2),
            max_unsent_bytes: match self.number::<u64>("ipv4/tcp_notsent_lowat") {
                Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
                None => default.max_unsent_bytes,
            },
            fast_open_secret: self.fast_open_secret(),
            socket: self.socket_options(),
            ..default
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysctls(entries: &[(&str, &str)]) -> (tempfile::TempDir, Sysctls) {
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in entries {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{value}\n")).unwrap();
        }
        let sysctls = Sysctls::under(folder.path());
        (folder, sysctls)
    }

    #[test]
    fn what_a_script_sets_is_honoured() {
        let (_folder, sysctls) = sysctls(&[
            ("ipv4/tcp_timestamps", "0"),
            ("ipv4/tcp_sack", "0"),
            ("ipv4/tcp_rmem", "4096\t540000\t15728640"),
            ("ipv4/tcp_wmem", "4096 262144 4194304"),
            ("ipv4/tcp_congestion_control", "reno"),
            ("ipv4/tcp_ecn", "1"),
            ("ipv4/tcp_early_retrans", "0"),
            ("ipv4/tcp_slow_start_after_idle", "0"),
            ("ipv4/tcp_mtu_probing", "2"),
            ("ipv4/tcp_base_mss", "512"),
        ]);
        let config = sysctls.config();
        assert!(!config.timestamps && !config.sack && config.window_scaling);
        assert_eq!(config.ecn, Ecn::Active);
        assert!(!config.tail_loss_probe && !config.slow_start_after_idle);
        let probing = config.mtu_probing;
        assert_eq!((probing.when, probing.base_mss), (ProbeWhen::Always, 512));
        assert_eq!(config.initial_receive_buffer_bytes, 270_000);
        assert_eq!(config.max_receive_buffer_bytes, 15_728_640);
        let defaults = sysctls.defaults();
        assert_eq!(
            (defaults.send_buffer, defaults.receive_buffer),
            (262_144, 540_000)
        );
        assert_eq!(defaults.tcp.algorithm, Algorithm::NewReno);
    }

    #[test]
    fn what_a_namespace_inherits_and_nobody_can_change_is_not_honoured() {
        let bbr = ("ipv4/tcp_congestion_control", "bbr");
        for (allowed, algorithm) in [
            ("reno bbr", Algorithm::default()),
            ("reno bbr cubic", Algorithm::Bbr),
        ] {
            let allowed = ("ipv4/tcp_allowed_congestion_control", allowed);
            let (_folder, sysctls) = sysctls(&[bbr, allowed]);
            assert_eq!(sysctls.defaults().tcp.algorithm, algorithm);
        }
    }

    #[test]
    fn fast_open_is_permitted_by_bits_and_keyed_by_words() {
        let (_folder, sysctls) = sysctls(&[
            ("ipv4/tcp_fastopen", "1543"),
            (
                "ipv4/tcp_fastopen_key",
                "a0bf63f7-ed803d81-cd641d30-cebc4a90,1-2-3-4",
            ),
        ]);
        let all = FastOpenPolicy {
            client: true,
            client_without_cookie: true,
            server: true,
            to_all: true,
            unasked: true,
        };
        assert_eq!(sysctls.defaults().fast_open, all);
        let secret = sysctls.config().fast_open_secret.unwrap().0;
        assert_eq!(secret[..6], [0xf7, 0x63, 0xbf, 0xa0, 0x81, 0x3d]);
    }

    #[test]
    fn without_any_it_is_linux_as_delivered() {
        let (_folder, sysctls) = sysctls(&[]);
        let config = sysctls.config();
        assert!(config.timestamps && config.sack && config.window_scaling);
        assert_eq!(config.ecn, Ecn::Passive);
        assert!(config.tail_loss_probe && config.slow_start_after_idle);
        assert_eq!(config.initial_receive_buffer_bytes, 65_536);
        assert_eq!(sysctls.defaults().send_buffer, 16_384);
    }
}
