//! Behaviour of the configuration: errors, order of sources, reference, plan.

use super::*;

fn load_text(text: &str) -> Result<Config, ConfigErrors> {
    load_with(text, &[])
}

fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("edge.toml");
    std::fs::write(&path, text).expect("file is written");
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Sources {
        file: Some(path),
        environment,
        arguments: Vec::new(),
    }
    .load()
}

fn first_error(text: &str) -> String {
    load_text(text)
        .expect_err("the text is refused")
        .to_string()
}

#[test]
fn defaults_pass_all_checks() {
    let config = Sources::default().load().expect("defaults are valid");
    assert_eq!(config.listen.client_address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.listen.control_address.to_string(), "127.0.0.1:8081");
    assert_eq!(config.limits.max_sessions, 100_000);
    assert_eq!(config.limits.frame_bytes, ByteSize::kib(64));
    assert_eq!(config.journal.quota, ByteSize::gib(16));
}

#[test]
fn an_unknown_key_names_the_nearest_key_and_the_line() {
    let error = first_error("[limits]\n\nmax_sesions = 5\n");
    assert!(error.contains("edge.toml:3:1"), "{error}");
    assert!(error.contains("limits.max_sesions"), "{error}");
    assert!(error.contains("did you mean max_sessions?"), "{error}");
}

#[test]
fn an_unknown_section_names_the_nearest_section() {
    let error = first_error("[limit]\nmax_sessions = 5\n");
    assert!(error.contains("edge.toml:1:2"), "{error}");
    assert!(error.contains("did you mean limits?"), "{error}");
    let error = first_error("max_sessions = 5\n");
    assert!(error.contains("no section [max_sessions]"), "{error}");
}

#[test]
fn a_value_of_the_wrong_kind_shows_how_to_write_it() {
    let error = first_error("[heartbeat]\ninterval = 30\n");
    assert!(
        error.contains("heartbeat.interval does not take 30"),
        "{error}"
    );
    assert!(error.contains("for example \"30s\""), "{error}");
}

#[test]
fn a_value_out_of_bounds_names_the_bounds() {
    let error = first_error("[limits]\nframe_bytes = \"1MiB\"\n");
    assert!(error.contains("\"8KiB\" to \"64KiB\""), "{error}");
    let error = first_error("[limits]\nmax_sessions = 0\n");
    assert!(error.contains("out of bounds"), "{error}");
}

#[test]
fn every_error_of_a_file_is_reported_at_once() {
    let errors = load_text("[limits]\na_b_c = 1\nmax_sessions = 0\n[log]\nlevel = \"loud\"\n")
        .expect_err("three errors");
    assert_eq!(errors.0.len(), 3, "{errors}");
}

#[test]
fn broken_toml_names_the_place() {
    let error = first_error("[limits]\nmax_sessions = \n");
    assert!(error.contains("edge.toml:2:"), "{error}");
    assert!(error.contains("not valid TOML"), "{error}");
}

#[test]
fn a_missing_file_names_the_argument() {
    let sources = Sources {
        file: Some("does/not/exist.toml".into()),
        ..Sources::default()
    };
    let error = sources.load().expect_err("no file").to_string();
    assert!(
        error.contains("does/not/exist.toml") && error.contains("--config"),
        "{error}"
    );
}

#[test]
fn environment_overrides_file_and_arguments_override_both() {
    let text = "[limits]\nmax_sessions = 10\n[node]\nname = \"file\"\nregion = \"eu\"\n";
    let environment = [
        ("INTERLINK__LIMITS__MAX_SESSIONS", "20"),
        ("INTERLINK__NODE__NAME", "environment"),
        ("UNRELATED__LIMITS__MAX_SESSIONS", "99"),
    ];
    let config = load_with(text, &environment).expect("valid");
    assert_eq!(config.limits.max_sessions, 20);
    assert_eq!(config.node.region, "eu");
    assert!(matches!(
        config.origin("node.region"),
        Origin::File { line: 5, .. }
    ));
    assert!(matches!(
        config.origin("limits.max_sessions"),
        Origin::Environment(_)
    ));
    assert_eq!(*config.origin("limits.frame_bytes"), Origin::Default);

    let arguments = vec![source::Argument {
        name: "--shards",
        section: "node",
        key: "shards",
        value: "3".to_owned(),
    }];
    let sources = Sources {
        arguments,
        environment: vec![("INTERLINK__NODE__SHARDS".to_owned(), "2".to_owned())],
        file: None,
    };
    let config = sources.load().expect("valid");
    assert_eq!(config.node.shards, 3);
    assert_eq!(
        *config.origin("node.shards"),
        Origin::Argument("--shards".to_owned())
    );
}

#[test]
fn an_unknown_environment_variable_of_ours_is_refused() {
    let error = load_with("", &[("INTERLINK__LIMITS__MAX_SESION", "5")])
        .expect_err("unknown")
        .to_string();
    assert!(error.contains("INTERLINK__LIMITS__MAX_SESION"), "{error}");
    assert!(error.contains("did you mean max_sessions?"), "{error}");
    assert!(load_with("", &[("INTERLINK__MAX_SESSIONS", "5")]).is_err());
}

#[test]
fn environment_reads_lists_sizes_and_namespaces() {
    let environment = [
        (
            "INTERLINK__LISTEN__ALLOWED_ORIGINS",
            "https://a.example, https://b.example",
        ),
        ("INTERLINK__LIMITS__FRAME_BYTES", "32KiB"),
        ("INTERLINK__NAMESPACES__SYS_SECURITY__HISTORY_EVENTS", "7"),
    ];
    let config = load_with("", &environment).expect("valid");
    assert_eq!(
        config.listen.allowed_origins,
        ["https://a.example", "https://b.example"]
    );
    assert_eq!(config.limits.frame_bytes, ByteSize::kib(32));
    assert_eq!(config.namespaces["sys.security"].history_events, Some(7));
}

#[test]
fn the_priority_of_a_namespace_cannot_be_set() {
    let error = first_error("[namespaces.chat]\npriority = \"P0\"\n");
    assert!(
        error.contains("namespaces.chat.priority cannot be set"),
        "{error}"
    );
    let error = first_error("[namespaces.chatt]\nconflated = true\n");
    assert!(error.contains("did you mean chat?"), "{error}");
}

#[test]
fn tls_needs_a_key_for_each_certificate_and_certificates_need_tls() {
    let address = "[listen]\nclient_address = \"0.0.0.0:8443\"\n";
    let files = "[tls]\ncertificate = [\"a.pem\", \"b.pem\"]\nkey = [\"a.key\", \"b.key\"]\n";
    assert!(load_text(&format!("{address}tls = \"on\"\n{files}")).is_ok());
    let error = first_error(&format!("{address}tls = \"on\"\n"));
    assert!(error.contains("there is no certificate"), "{error}");
    let error = first_error("[listen]\ntls = \"on\"\n[tls]\ncertificate = [\"a.pem\"]\n");
    assert!(error.contains("1 certificates have 0 keys"), "{error}");
    let error = first_error(files);
    assert!(error.contains("would not be used"), "{error}");
    let error = first_error("[tls]\nticket_rotation = \"30d\"\n");
    assert!(error.contains("\"1m\" to \"3d\""), "{error}");
}

#[test]
fn plaintext_on_another_address_needs_a_proxy() {
    let error = first_error("[listen]\nclient_address = \"0.0.0.0:8080\"\n");
    assert!(error.contains("terminated-upstream"), "{error}");
    let text = "[listen]\nclient_address = \"0.0.0.0:8080\"\ntls = \"terminated-upstream\"\n";
    assert!(load_text(text).is_ok());
    let error = first_error("[listen]\ncontrol_address = \"0.0.0.0:8081\"\n");
    assert!(error.contains("no authentication"), "{error}");
    assert!(error.contains("control_token_file"), "{error}");
    let guarded = "[listen]\ncontrol_address = \"0.0.0.0:8081\"\ncontrol_token_file = \"token\"\n";
    assert!(load_text(guarded).is_ok());
}

#[test]
fn proxies_are_named_by_networks() {
    for text in ["10.0.0.1/8", "proxy.example", "10.0.0.0/33", ""] {
        let error = first_error(&format!("[listen]\nproxy_from = [\"{text}\"]\n"));
        assert!(error.contains("10.0.0.0/8"), "{error}");
    }
    let many = vec!["\"192.0.2.7\""; 65].join(", ");
    let error = first_error(&format!("[listen]\nproxy_from = [{many}]\n"));
    assert!(error.contains("65 networks"), "{error}");
    assert!(load_text("[listen]\nproxy_from = [\"10.0.0.0/8\", \"::1\"]\n").is_ok());
}

#[test]
fn key_sets_come_from_addresses_that_can_be_trusted() {
    let jwks = |text: &str| format!("[auth]\njwks = [\"{text}\"]\n");
    for text in [
        "https://login.example/keys",
        "school http://login.example/keys",
        "school ftp://127.0.0.1/keys",
    ] {
        let error = first_error(&jwks(text));
        assert!(error.contains("write issuer and https URL"), "{error}");
    }
    for text in [
        "school https://login.example/k",
        "school http://127.0.0.1:9/k",
    ] {
        assert!(load_text(&jwks(text)).is_ok(), "{text}");
    }
    let many: Vec<String> = (0..9)
        .map(|n| format!("\"i{n} https://login.example/k\""))
        .collect();
    let error = first_error(&format!("[auth]\njwks = [{}]\n", many.join(", ")));
    assert!(error.contains("more than 8"), "{error}");
    for line in ["jwks_refresh = \"10s\"", "jwks_keep = \"1m\""] {
        let error = first_error(&format!("[auth]\n{line}\n"));
        assert!(error.contains("cool-down the shortest"), "{error}");
    }
}

#[test]
fn values_that_exclude_each_other_are_refused() {
    let cases = [
        (
            "[rings]\nrings_at_start = 5\nrings_max = 4\n",
            "rings.rings_at_start",
        ),
        (
            "[node]\nshards = 1\n[limits]\nmax_sessions = 30000\n[rings]\nrings_max = 1\n",
            "limits.max_sessions",
        ),
        ("[journal]\nquota = \"64MiB\"\n", "journal.quota"),
        (
            "[journal]\nretention_bytes = \"32GiB\"\n",
            "journal.retention_bytes",
        ),
        (
            "[heartbeat]\ninterval = \"2s\"\ntimeout = \"2s\"\n",
            "heartbeat.timeout",
        ),
        ("[listen]\npath = \"connect\"\n", "listen.path"),
        (
            "[listen]\nallowed_origins = [\"school.example\"]\n",
            "listen.allowed_origins",
        ),
        (
            "[listen]\ncontrol_address = \"127.0.0.1:8080\"\n",
            "listen.control_address",
        ),
        (
            "[namespaces.chat]\nhistory_age = \"3d\"\n",
            "namespaces.chat.history_age",
        ),
        ("[node]\nname = \"\"\n", "node.name"),
        ("[namespaces.chat]\nconflated = true\n", "namespace `chat`"),
    ];
    for (text, path) in cases {
        let error = first_error(text);
        assert!(error.contains(path), "{path} is not named in: {error}");
    }
}

#[test]
fn an_archive_is_part_of_a_cluster_and_reached_safely() {
    let cluster = "[redis]\nmode = \"single\"\naddresses = [\"127.0.0.1:6379\"]\n\
                   [kafka]\nbrokers = [\"127.0.0.1:9092\"]\n";
    let here = "[postgres]\naddress = \"127.0.0.1:5432\"\n";
    let with = |lines: &str| first_error(&format!("{cluster}[postgres]\n{lines}\n"));
    assert!(
        first_error(here).contains("redis.mode"),
        "{}",
        first_error(here)
    );
    for (lines, path, cure) in [
        ("address = \"db\"", "postgres.address", "HOST:PORT"),
        (
            "address = \"db.example:5432\"",
            "postgres.address",
            "postgres.tls",
        ),
        (
            "address = \"127.0.0.1:1\"\ntls = true",
            "postgres.tls",
            "authorities",
        ),
        (
            "address = \"127.0.0.1:1\"\nschema = \"a b\"",
            "postgres.schema",
            "lower-case",
        ),
        ("connections = 0", "postgres.connections", "1"),
        ("call_timeout = \"1ms\"", "postgres.call_timeout", "100ms"),
    ] {
        let error = with(lines);
        assert!(error.contains(path) && error.contains(cure), "{error}");
    }
    let config = load_text(&format!("{cluster}{here}")).expect("right");
    assert!(config.has_archive());
    // What is older than the journal keeps is in the archive.
    let long = format!("{cluster}{here}[namespaces.chat]\nhistory_age = \"7d\"\n");
    assert!(load_text(&long).is_ok());
}

#[test]
fn every_property_is_documented_with_a_working_example() {
    let mut config = Config::default();
    let names: Vec<&str> = config.sections().map(Section::name).to_vec();
    let mut count = 0;
    for name in names {
        let section = config.section_mut(name).expect("listed section");
        assert!(section.text().len() > 20, "{name} has no text");
        count += check_properties(section);
    }
    count += check_properties(&mut NamespaceSettings::default());
    assert!(count > 40, "{count} properties");
}

fn check_properties(section: &mut dyn Section) -> usize {
    let name = section.name();
    let properties = section.properties();
    for property in &properties {
        let path = format!("{name}.{}", property.key);
        assert!(property.text.ends_with('.'), "{path} has no sentence");
        assert!(!property.kind.is_empty(), "{path} has no kind");
        let example = format!("value = {}", property.example);
        let table = toml::de::DeTable::parse(&example).expect("example is TOML");
        let value = table.get_ref().values().next().expect("one value");
        let set = section.set(property.key, Raw::Toml(value.get_ref()));
        assert_eq!(set, Ok(()), "{path} does not take its example {example}");
    }
    properties.len()
}

#[test]
fn the_reference_names_every_property_and_is_a_valid_file() {
    let reference = reference::reference();
    load_text(&reference).expect("the reference is valid");
    let uncommented: String = reference
        .lines()
        .filter_map(|line| {
            let assignment = line.strip_prefix("# ").filter(|rest| {
                rest.split_once(" = ")
                    .is_some_and(|(key, _)| !key.contains(' '))
            });
            assignment.or(line.starts_with('[').then_some(line))
        })
        .collect::<Vec<_>>()
        .join("\n");
    let config = load_text(&uncommented).expect("every line with its value is valid");
    for section in Config::default().sections() {
        for property in section.properties() {
            let path = format!("{}.{}", section.name(), property.key);
            assert!(
                matches!(config.origin(&path), Origin::File { .. }),
                "{path} is missing"
            );
        }
    }
    for property in NamespaceSettings::default().properties() {
        let path = format!("namespaces.chat.{}", property.key);
        assert!(
            matches!(config.origin(&path), Origin::File { .. }),
            "{path} is missing"
        );
    }
}

#[test]
fn the_effective_print_reads_back_to_the_same_values() {
    let text = "[limits]\nmax_sessions = 77\n[namespaces.\"sys.security\"]\nhistory_events = 3\n";
    let config = load_text(text).expect("valid");
    let printed = print::effective(&config);
    assert!(printed.contains("max_sessions = 77"), "{printed}");
    assert!(printed.contains("edge.toml:2"), "{printed}");
    let again = load_text(&(printed + &print::plan(&MemoryPlan::of(&config)))).expect("valid");
    assert_eq!(again.limits, config.limits);
    assert_eq!(again.journal, config.journal);
    assert_eq!(again.namespaces, config.namespaces);
}

#[test]
fn the_plan_is_the_sum_of_its_lines_and_grows_with_sessions() {
    let small = load_text("[node]\nshards = 1\n[limits]\nmax_sessions = 1000\n").expect("valid");
    let large = load_text("[node]\nshards = 1\n[limits]\nmax_sessions = 2000\n").expect("valid");
    let (small, large) = (MemoryPlan::of(&small), MemoryPlan::of(&large));
    let sum: u64 = small.lines.iter().map(|line| line.bytes).sum();
    assert_eq!(small.bytes_per_shard(), sum);
    assert!(large.bytes() >= small.bytes() + 1_000 * plan::SESSION_BYTES);
    assert_eq!(plan::SESSION_BYTES, 498);
}

#[test]
fn the_plan_of_a_cluster_has_the_records_that_wait_for_the_relay_thread() {
    let alone = load_text("[node]\nshards = 1\n").expect("valid");
    let mut clustered = alone.clone();
    clustered.redis.mode = RedisMode::Single;
    let plans = [alone, clustered].map(|config| MemoryPlan::of(&config).bytes());
    assert_eq!(plans[1] - plans[0], 2 * (16 << 20));
}

mod values {
    use std::time::Duration;

    use super::super::setting::duration_text;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn durations_read_back(micros in 0u64..1 << 50) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(duration_from_text(&duration_text(duration)), Some(duration));
        }

        #[test]
        fn sizes_read_back(bytes: u64) {
            prop_assert_eq!(ByteSize::from_text(&ByteSize(bytes).text()), Some(ByteSize(bytes)));
        }

        #[test]
        fn no_text_makes_the_loader_panic(text in "\\PC{0,200}") {
            let mut loader = source::Loader::default();
            file::apply_text("any.toml", &text, &mut loader);
        }
    }
}

#[test]
fn overrides_change_the_policy_of_their_namespace_alone() {
    use interlink_protocol::channel::ChannelName;
    let text = "[namespaces.chat]\nhistory_events = 7\npayload_bytes = \"1KiB\"\n";
    let policies = load_text(text)
        .expect("valid")
        .namespace_policies()
        .expect("valid");
    let of = |name| {
        policies
            .lookup(&ChannelName::parse(name).expect("name"))
            .expect("policy")
    };
    assert_eq!(
        (of("chat.a~b").history_events, of("chat.a~b").payload_bytes),
        (7, 1_024)
    );
    assert_eq!(of("class.m").history_events, 1_000);
}
