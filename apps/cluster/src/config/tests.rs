use super::*;

fn parse(text: &str) -> Result<Config, String> {
    let refused = |error: ConfigError| error.to_string();
    Config::parse(Path::new("/etc/outlive/cluster.toml"), text, None).map_err(refused)
}

/// The example with one piece of text replaced.
fn example_with(from: &str, to: &str) -> Result<Config, String> {
    assert!(EXAMPLE.contains(from), "{from}");
    parse(&EXAMPLE.replacen(from, to, 1))
}

/// "line N" of the example.
fn line_of(start: &str) -> String {
    let index = EXAMPLE.lines().position(|line| line.starts_with(start));
    format!("line {}:", index.unwrap() + 1)
}

/// A refusal that is one line, names the file, and has all of `parts`.
fn refused(result: Result<Config, String>, parts: &[&str]) {
    let line = result.expect_err("must be refused");
    assert!(
        !line.contains('\n') && line.contains("cluster.toml"),
        "{line}"
    );
    for part in parts {
        assert!(line.contains(part), "\"{part}\" is not in: {line}");
    }
}

#[test]
fn the_example_is_right() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.me, HostId(0));
    assert_eq!(config.key_file, Path::new("/etc/outlive/cluster.key"));
    assert_eq!(config.state_dir, Path::new("/var/lib/outlive"));
    assert_eq!(config.arbitration, Arbitration::Witness);
    assert_eq!(config.detection.interval, Duration::from_millis(10));
    assert_eq!(config.others().count(), 2);
    assert_eq!(config.own().paths.len(), 2);
    let service = config.service.unwrap();
    assert_eq!(service.address.to_string(), "10.77.0.2/24");
}

#[test]
fn the_example_shows_the_defaults() {
    let config = parse(EXAMPLE).unwrap();
    let tables = ["[detection]", "[lease]", "[arbitration]", "[survival]"];
    let mut shortened = String::new();
    let mut left_out = false;
    for line in EXAMPLE.lines() {
        if line.starts_with('[') {
            left_out = tables.iter().any(|table| line.starts_with(table));
        }
        if !left_out {
            shortened += line;
            shortened += "\n";
        }
    }
    assert!(shortened.len() + 500 < EXAMPLE.len());
    assert_eq!(parse(&shortened).unwrap(), config);
}

#[test]
fn the_same_file_serves_every_host() {
    let path = Path::new("cluster.toml");
    for me in 0..3 {
        let config = Config::parse(path, EXAMPLE, Some(me)).unwrap();
        assert_eq!(config.me, HostId(me));
        assert_eq!(config.is_witness(), me == 2);
    }
    assert!(Config::parse(path, EXAMPLE, Some(3)).is_err());
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    refused(
        example_with("interval_ms = 10", "interval = 10"),
        &[
            &line_of("interval_ms"),
            "unknown field `interval`",
            "interval_ms",
        ],
    );
    refused(parse("mee = 1"), &["line 1", "`mee`"]);
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    refused(
        example_with("multiplier = 3", "multiplier = three"),
        &[&line_of("multiplier")],
    );
    refused(example_with("[lease]", "[lease"), &["line"]);
    refused(parse("\u{0}"), &["line 1"]);
}

#[test]
fn a_value_that_cannot_be_is_refused_with_what_to_write() {
    refused(
        example_with("10.77.0.2/24", "10.77.0.2"),
        &["prefix length is missing"],
    );
    refused(example_with("02:00:5e", "03:00:5e"), &["group address"]);
    refused(
        example_with("\"packet\"", "\"veth\""),
        &["unknown variant `veth`", "packet"],
    );
    refused(example_with("10.77.0.254", "10.78.0.254"), &["gateway"]);
    refused(
        example_with("interval_ms = 10", "interval_ms = 0"),
        &["from 1 to"],
    );
    refused(
        example_with("multiplier = 3", "multiplier = 0"),
        &["write 3"],
    );
    refused(
        example_with("duration_ms = 30", "duration_ms = 15"),
        &["from 20", "twice"],
    );
    refused(
        example_with("duration_ms = 30", "duration_ms = 10001"),
        &["to 10000"],
    );
    refused(example_with("preferred = 0", "preferred = 2"), &["0 or 1"]);
    refused(example_with("me = 0 ", "# "), &["`me` is missing", "--me"]);
}

#[test]
fn what_is_kept_has_bounds() {
    refused(
        example_with("journal_mb = 1024", "journal_mb = 0"),
        &["from 1 to"],
    );
    refused(
        example_with("commit_timeout_ms = 200", "commit_timeout_ms = 1"),
        &["from 10 to"],
    );
    assert_eq!(parse(EXAMPLE).unwrap().survival.journal_bytes, 1 << 30);
}

#[test]
fn hosts_must_make_a_cluster() {
    refused(example_with("id = 1", "id = 0"), &["twice"]);
    refused(example_with("id = 1", "id = 7"), &["witness"]);
    refused(example_with("id = 0", "id = 2"), &["twice"]);
    refused(example_with("me = 0", "me = 3"), &["no [[hosts]]"]);
    refused(example_with("10.88.0.2:7700", "10.88.0.1:7700"), &["taken"]);
    refused(
        example_with("\"10.88.0.2:7700\", ", ""),
        &["different numbers"],
    );
    refused(
        example_with("10.88.0.2:7700", "[fd00::2]:7700"),
        &["family"],
    );
    refused(
        example_with("10.88.0.2:7700", "backup:7700"),
        &["invalid socket address"],
    );
}

/// The example without its witness.
fn pair(arbitration: &str) -> Result<Config, String> {
    let witness = "[[hosts]]\nid = 2\npaths = [\"10.88.0.3:7700\", \"10.77.0.13:7700\"]\n";
    assert!(EXAMPLE.contains(witness));
    let text = EXAMPLE.replacen(witness, "", 1);
    let from = "method = \"witness\"\nunsafe_pair = false\n";
    assert!(text.contains(from));
    parse(&text.replacen(from, arbitration, 1))
}

#[test]
fn a_bare_pair_is_refused_unless_it_is_asked_for_twice() {
    refused(
        pair(""),
        &[
            "cannot be safe",
            "witness",
            "fence_command",
            "unsafe_pair = true",
        ],
    );
    refused(pair("method = \"unsafe pair\""), &["cannot be safe"]);
    refused(
        pair("method = \"witness\"\nunsafe_pair = true"),
        &["id = 2"],
    );
    let asked = "method = \"unsafe pair\"\nunsafe_pair = true\n";
    refused(pair(asked), &["service_probe"]);
    let asked = pair(&format!("{asked}service_probe = [\"10.77.0.254:53\"]\n")).unwrap();
    assert_eq!(
        asked.arbitration,
        Arbitration::UnsafePair(vec!["10.77.0.254:53".parse().unwrap()])
    );
}

#[test]
fn a_fence_needs_a_command() {
    refused(pair("method = \"fence\""), &["fence_command"]);
    let fenced = pair("fence_command = [\"off\"]\n").unwrap();
    let Arbitration::Fence(fence) = fenced.arbitration else {
        panic!("{:?}", fenced.arbitration);
    };
    assert_eq!(
        (fence.command, fence.timeout),
        (vec!["off".to_owned()], Duration::from_secs(10))
    );
}

#[test]
fn a_server_needs_a_service_and_a_witness_does_not() {
    let start = EXAMPLE.find("[service]").unwrap();
    let end = EXAMPLE.find("# A path is dead").unwrap();
    let text = [&EXAMPLE[..start], &EXAMPLE[end..]].concat();
    refused(parse(&text), &["[service] is missing"]);
    assert!(Config::parse(Path::new("x"), &text, Some(2)).is_ok());
}

#[test]
fn how_connections_are_replayed_can_be_chosen() {
    let usual = parse(EXAMPLE).unwrap();
    assert_eq!(usual.survival.replay, ReplayOptions::default());
    assert!(!usual.first_start);
    let hot = example_with("\"when full\"  ", "\"always\"  ").unwrap();
    assert_eq!(hot.survival.replay.hot, Hot::Always);
    let log = example_with("replay_log_kb = 256", "replay_log_kb = 64").unwrap();
    assert_eq!(log.survival.replay.log_bytes, 64 << 10);
    refused(
        example_with("replay_log_kb = 256", "replay_log_kb = 0"),
        &["replay_log_kb", "from 1"],
    );
    refused(
        example_with("\"when full\"  ", "\"sometimes\"  "),
        &[&line_of("replay_hot"), "sometimes"],
    );
}

#[test]
fn a_first_start_is_promised_to_the_membership() {
    let promised = example_with("first_start = false", "first_start = true").unwrap();
    assert!(crate::membership::options(&promised).unwrap().first_start);
    let usual = parse(EXAMPLE).unwrap();
    assert!(!crate::membership::options(&usual).unwrap().first_start);
}

#[test]
fn a_flooded_service_needs_stations_of_its_own() {
    let flooded = ("flooded = false", "flooded = true");
    let config = example_with(flooded.0, flooded.1).unwrap();
    assert!(config.service.unwrap().flooded);
    let text = EXAMPLE.replace(flooded.0, flooded.1);
    let on_tap = text.replace("device = \"packet\"", "device = \"tap\"");
    refused(parse(&on_tap), &["flooded", "device"]);
}
