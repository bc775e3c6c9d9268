use super::*;
use crate::codec::testing::RECEIVED_AT;
use crate::time::EventTime;
use proptest::prelude::*;

fn india() -> Zone {
    Zone::parse("+05:30").unwrap()
}

fn new_york() -> Zone {
    Zone::parse("America/New_York").unwrap()
}

fn at(time: &str) -> EventTime {
    EventTime::from_chrono(time.parse().unwrap())
}

/// Says in one line what a message was read as.
fn read_in(line: &[u8], received_at: EventTime, zone: &Zone) -> String {
    let message = parse(line, received_at, zone);
    let text = |span: Span| {
        span.of(line).escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'")
    };
    let mut parts = Vec::new();
    if let Some(priority) = message.priority {
        parts.push(format!("{}.{}", priority.facility(), priority.severity()));
    }
    if let Some(version) = message.version {
        parts.push(format!("v{version}"));
    }
    if let Some(time) = message.time {
        let time = time.to_chrono().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        parts.push(if message.clock_unsynced { format!("~{time}") } else { time });
    }
    if let Some(sequence) = message.sequence {
        parts.push(format!("#{sequence}"));
    }
    for (sign, span) in [
        ("host", message.hostname),
        ("app", message.appname),
        ("proc", message.procid),
        ("id", message.msgid),
        ("sd", message.structured),
    ] {
        if let Some(span) = span {
            parts.push(format!("{sign}={}", text(span)));
        }
    }
    parts.push(format!("| {}", text(message.message)));
    parts.join(" ")
}

fn read(line: &str) -> String {
    read_in(line.as_bytes(), RECEIVED_AT, &Zone::UTC)
}

#[track_caller]
fn check(table: &[(&str, &str)]) {
    for (line, expected) in table {
        assert_eq!(read(line), *expected, "{line}");
    }
}

#[test]
fn priorities() {
    check(&[
        ("<0>x y", "kern.emerg | x y"),
        ("<191>x y", "local7.debug | x y"),
        ("<013>x y", "user.notice | x y"),
        ("<13>   x y", "user.notice | x y"),
        ("\n  <13>x y\r\n\0", "user.notice | x y"),
        ("\u{feff}<13>x y", "user.notice | x y"),
        ("\tx=1\ty=2", "| \\tx=1\\ty=2"),
        ("<13>", "user.notice | "),
        // There is no such priority: nothing is guessed and nothing lost.
        ("<192>x y", "| <192>x y"),
        ("<0013>x y", "| <0013>x y"),
        ("<>x y", "| <>x y"),
        ("<189 x y", "| <189 x y"),
        ("<-1>x y", "| <-1>x y"),
        (
            "<999>Feb 27 08:00:00 web-1 sshd[7]: hi",
            "2026-02-27T08:00:00Z host=web-1 app=sshd proc=7 \
             | <999>Feb 27 08:00:00 web-1 sshd[7]: hi",
        ),
        // The priority stands even if nothing else does.
        (
            "<189>date=2026-02-27 time=08:00:00 devid=\"F1\"",
            "local7.notice | date=2026-02-27 time=08:00:00 devid=\"F1\"",
        ),
        ("<13>{\"a\": 1}", "user.notice | {\"a\": 1}"),
        (
            "<134> 02/27/2026:08:00:00 GMT ns1 0-PPE-0 : x",
            "local0.info | 02/27/2026:08:00:00 GMT ns1 0-PPE-0 : x",
        ),
    ]);
}

#[test]
fn messages_of_rfc_5424() {
    check(&[
        (
            "<34>1 2026-02-27T08:00:00.003Z web-1.example su 77 ID47 - 'su root' failed",
            "auth.crit v1 2026-02-27T08:00:00.003Z host=web-1.example app=su proc=77 id=ID47 \
             | 'su root' failed",
        ),
        ("<165>1 - - - - - -", "local4.notice v1 | "),
        ("<165>1 - - - - - - x", "local4.notice v1 | x"),
        ("<165>1 2026-02-27T08:00:00Z", "local4.notice v1 2026-02-27T08:00:00Z | "),
        (
            "<165>1 2026-02-27T08:00:00Z web-1",
            "local4.notice v1 2026-02-27T08:00:00Z host=web-1 | ",
        ),
        (
            "<165>8 2026-02-27T08:00:00Z fe80::1 app textual - - x",
            "local4.notice v8 2026-02-27T08:00:00Z host=fe80::1 app=app proc=textual | x",
        ),
        (
            "<165>1 2026-02-27T08:00:00.123456789+05:30 web-1 app - - -  \u{feff}x",
            "local4.notice v1 2026-02-27T02:30:00.123456789Z host=web-1 app=app | x",
        ),
        // Without structured data, and with words left out in the middle.
        (
            "<165>1 2026-02-27T08:00:00Z web-1 app 5 - text at once",
            "local4.notice v1 2026-02-27T08:00:00Z host=web-1 app=app proc=5 | text at once",
        ),
        (
            "<165>1 2026-02-27T08:00:00Z web-1 app [a@1 b=\"c\"] text",
            "local4.notice v1 2026-02-27T08:00:00Z host=web-1 app=app sd=[a@1 b=\"c\"] | text",
        ),
        (
            "<165>1 2026-02-27T08:00:00Z web-1 CEF:0|V|P|1|2|n|5|a=b",
            "local4.notice v1 2026-02-27T08:00:00Z host=web-1 | CEF:0|V|P|1|2|n|5|a=b",
        ),
        (
            "<165>1 2026-02-27T08:00:00Z web-1 app - - {\"json\": 1}",
            "local4.notice v1 2026-02-27T08:00:00Z host=web-1 app=app | {\"json\": 1}",
        ),
        // The version of one standard, the rest of the other.
        (
            "<165>1 Feb 27 08:00:00 web-1 sshd[7]: x",
            "local4.notice v1 2026-02-27T08:00:00Z host=web-1 app=sshd proc=7 | x",
        ),
        (
            "<134>1 1772179200.857790440 MR18 flows src=203.0.113.9",
            "local0.info v1 2026-02-27T08:00:00.857790440Z host=MR18 app=flows \
             | src=203.0.113.9",
        ),
        // Without version, but the rest is as it should be.
        (
            "<14>2026-02-27T08:00:00Z web-1 EPO - Fwd [a@1 b=\"c\"] x",
            "user.info 2026-02-27T08:00:00Z host=web-1 app=EPO id=Fwd sd=[a@1 b=\"c\"] | x",
        ),
        (
            "<14>2026-02-27T08:00:00Z web-1 PKTLOG 7 - - x",
            "user.info 2026-02-27T08:00:00Z host=web-1 app=PKTLOG proc=7 | x",
        ),
        (
            "<14>2026-02-27T08:00:00Z web-1 app: - - - x",
            "user.info 2026-02-27T08:00:00Z host=web-1 app=app | - - - x",
        ),
        // No version: the text begins with a number.
        ("<13>1 fish, 2 fish", "user.notice | 1 fish, 2 fish"),
        ("<13>1 2026-99-27T08:00:00Z a b", "user.notice | 1 2026-99-27T08:00:00Z a b"),
        ("<13>0 - - - - - - x", "user.notice | 0 - - - - - - x"),
    ]);
}

#[test]
fn structured_data() {
    const HEAD: &str = "<165>1 - h a - - ";
    for (written, rest) in [
        (r#"[id]"#, "x"),
        (r#"[id a="1"][id b="]"]"#, "x"),
        (r#"[id a="\"\\\]\n"]"#, "x"),
        (r#"[id a=1 b=]"#, ""),
        (r#"[id a= "1"]"#, "x"),
        (r#"[Originator@6876 sub=Vpxa opID=9-1]"#, "x"),
        (r#"[action:"Accept"; flags:"4"; rule:"a; b"]"#, "x"),
        (r#"[a="1"]"#, "x"),
    ] {
        let line = format!("{HEAD}{written} {rest}");
        let expected = if rest.is_empty() {
            // Not structured data: it stays in the text.
            format!("local4.notice v1 host=h app=a | {written} ")
        } else {
            format!("local4.notice v1 host=h app=a sd={written} | {rest}")
        };
        assert_eq!(read(&line), expected.replace('\\', "\\\\"));
    }
    for text in [
        "[id a=\"never closed] x",
        "[id a=\"b\"c] x",
        "[id a] x",
        "[id =\"a\"] x",
        "[] x",
        "[id a=\"1\"][id b] x",
        "[",
    ] {
        let expected = format!("local4.notice v1 host=h app=a | {text}");
        assert_eq!(read(&format!("{HEAD}{text}")), expected);
    }
}

#[test]
fn structured_data_before_a_text_of_rfc_3164() {
    check(&[
        (
            "<190>Feb 27 08:00:00 web-1 rsyslogd:  [origin software=\"rsyslogd\" x.y=\"8\"] start",
            "local7.info 2026-02-27T08:00:00Z host=web-1 app=rsyslogd \
             sd=[origin software=\"rsyslogd\" x.y=\"8\"] | start",
        ),
        (
            "<166>2026-02-27T08:00:00Z esx-1 Hostd: [Originator@6876 sub=Vimsvc opID=7] done",
            "local4.info 2026-02-27T08:00:00Z host=esx-1 app=Hostd \
             sd=[Originator@6876 sub=Vimsvc opID=7] | done",
        ),
        // Brackets that are text.
        (
            "<13>Feb 27 08:00:00 h a: [client 1] x",
            "user.notice 2026-02-27T08:00:00Z host=h app=a | [client 1] x",
        ),
        (
            "<13>Feb 27 08:00:00 h a: [k=v] x",
            "user.notice 2026-02-27T08:00:00Z host=h app=a | [k=v] x",
        ),
        (
            "<13>Feb 27 08:00:00 h a: [m k=v] x",
            "user.notice 2026-02-27T08:00:00Z host=h app=a | [m k=v] x",
        ),
    ]);
}

#[test]
fn forms_of_time() {
    let with_time = |form: &str| read(&format!("<13>{form} web-1 sshd[7]: x"));
    let expected = |time: &str| format!("user.notice {time} host=web-1 app=sshd proc=7 | x");
    for (form, time) in [
        ("Feb 27 08:00:01", "2026-02-27T08:00:01Z"),
        ("Feb  7 08:00:01", "2026-02-07T08:00:01Z"),
        ("Feb 7 08:00:01", "2026-02-07T08:00:01Z"),
        ("FEB 07 8:00:01", "2026-02-07T08:00:01Z"),
        ("feb 27 08:00:01.123", "2026-02-27T08:00:01.123Z"),
        ("Feb 27 08:00:01.1234567891", "2026-02-27T08:00:01.123456789Z"),
        ("Feb 27 2019 08:00:01", "2019-02-27T08:00:01Z"),
        ("Feb 27, 2019 08:00:01", "2019-02-27T08:00:01Z"),
        ("2019 Feb 27 08:00:01", "2019-02-27T08:00:01Z"),
        ("Feb 27 08:00:01 2019", "2019-02-27T08:00:01Z"),
        ("Feb 27 08:00:01 CEST 2019", "2019-02-27T06:00:01Z"),
        ("Feb 27 08:00:01 2019 EST", "2019-02-27T13:00:01Z"),
        ("Wed Feb 27 08:00:01 2019", "2019-02-27T08:00:01Z"),
        ("Feb 27 08:00:01 CEST", "2026-02-27T06:00:01Z"),
        ("Feb 27 08:00:01 GMT", "2026-02-27T08:00:01Z"),
        ("Feb 27 08:00:01 GMT+1", "2026-02-27T07:00:01Z"),
        ("Feb 27 08:00:01 -0130", "2026-02-27T09:30:01Z"),
        ("Feb 27 08:00:01.5 UTC:", "2026-02-27T08:00:01.500Z"),
        ("Feb 27 08:00:01:", "2026-02-27T08:00:01Z"),
        (":Feb 27 08:00:01 UTC:", "2026-02-27T08:00:01Z"),
        ("Feb 27 08:00:01 PM", "2026-02-27T20:00:01Z"),
        ("Feb 27 12:00:01 AM", "2026-02-27T00:00:01Z"),
        ("Feb 27 12:00:01pm", "2026-02-27T12:00:01Z"),
        ("Feb 27 23:59:60", "2026-02-28T00:00:00Z"),
        ("2026-02-27T08:00:01Z", "2026-02-27T08:00:01Z"),
        ("2026-02-27t08:00:01z", "2026-02-27T08:00:01Z"),
        ("2026-02-27T08:00:01.217", "2026-02-27T08:00:01.217Z"),
        ("2026-02-27 08:00:01,217", "2026-02-27T08:00:01.217Z"),
        ("2026-02-27 08:00:01 +01:00", "2026-02-27T07:00:01Z"),
        ("2026/02/27 08:00:01", "2026-02-27T08:00:01Z"),
        ("2026-02-27T08:00:01+0100", "2026-02-27T07:00:01Z"),
        ("2026-02-27T08:00:01-01", "2026-02-27T09:00:01Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("1772179201", "2026-02-27T08:00:01Z"),
        ("1772179201.25", "2026-02-27T08:00:01.250Z"),
        ("1772179201250", "2026-02-27T08:00:01.250Z"),
        ("*Feb 27 08:00:01.5", "~2026-02-27T08:00:01.500Z"),
        (".Feb 27 08:00:01", "~2026-02-27T08:00:01Z"),
    ] {
        assert_eq!(with_time(form), expected(time), "{form}");
    }
    // No times, so all is text.
    for form in [
        "Feb 30 08:00:01",
        "Feb 29 2026 08:00:01",
        "Feb 00 08:00:01",
        "Fub 27 08:00:01",
        "Feb 27 24:00:01",
        "Feb 27 08:60:01",
        "Feb 27 08:00:61",
        "Feb 27 08:00",
        "Feb 27 13:00:01 PM",
        "Feb27 08:00:01",
        "2026-13-27T08:00:01Z",
        "2026-02-27T08:00:01Zx",
        "2026-02-27_08:00:01",
        "2026-02-27T08:00:01+24:00",
        "9999-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "177217920",
        "17721792012501",
    ] {
        let line = format!("<13>{form} web-1 sshd[7] x");
        assert_eq!(read(&line), format!("user.notice | {}", &line[4..]), "{form}");
    }
}

#[test]
fn the_year_is_the_one_nearest_to_the_arrival() {
    let year = |line: &str, received_at: &str| {
        let message = parse(line.as_bytes(), at(received_at), &Zone::UTC);
        message.time.unwrap().to_rfc3339()[..10].to_owned()
    };
    for (written, received_at, date) in [
        ("Dec 31 23:59:59 h a: x", "2026-01-01T00:00:05Z", "2025-12-31"),
        ("Jan  1 00:00:01 h a: x", "2025-12-31T23:59:59Z", "2026-01-01"),
        ("Jun 30 12:00:00 h a: x", "2026-12-28T12:00:00Z", "2026-06-30"),
        ("Jun 26 12:00:00 h a: x", "2026-12-28T12:00:00Z", "2027-06-26"),
        ("Feb 29 12:00:00 h a: x", "2025-03-01T12:00:00Z", "2024-02-29"),
        ("Feb 29 12:00:00 h a: x", "2026-12-01T12:00:00Z", "2028-02-29"),
        ("Feb 29 12:00:00 h a: x", "1901-01-01T00:00:00Z", "1904-02-29"),
        ("Feb 28 12:00:00 h a: x", "2024-02-29T12:00:00Z", "2024-02-28"),
    ] {
        assert_eq!(year(written, received_at), date, "{written} at {received_at}");
    }
}

#[test]
fn times_without_zone_are_of_the_listeners_zone() {
    let received = at("2026-07-01T00:00:00Z");
    let time = |line: &str, zone: &Zone| {
        parse(line.as_bytes(), received, zone).time.unwrap().to_rfc3339()[..19].to_owned()
    };
    for (line, zone, expected) in [
        ("<13>Jul  1 08:00:00 h a: x", india(), "2026-07-01T02:30:00"),
        ("<13>Dec 28 2019 16:49:07 h a: x", india(), "2019-12-28T11:19:07"),
        ("<13>2026-07-01T08:00:00 h a: x", india(), "2026-07-01T02:30:00"),
        ("<13>1 2026-07-01T08:00:00 h a - - - x", india(), "2026-07-01T02:30:00"),
        ("<13>2026-07-01T08:00:00Z h a: x", india(), "2026-07-01T08:00:00"),
        ("<13>Jul  1 08:00:00 UTC h a: x", india(), "2026-07-01T08:00:00"),
        ("<13>Jul  1 08:00:00 h a: x", new_york(), "2026-07-01T12:00:00"),
        ("<13>Jan 15 08:00:00 h a: x", new_york(), "2026-01-15T13:00:00"),
        // Clocks showed this twice; the second time is nearer.
        ("<13>Nov 02 2025 01:30:00 h a: x", new_york(), "2025-11-02T06:30:00"),
        // Clocks never showed this: the sender's was not set forward yet.
        ("<13>Mar  8 02:30:00 h a: x", new_york(), "2026-03-08T07:30:00"),
    ] {
        assert_eq!(time(line, &zone), expected, "{line}");
    }
    // A name that means two things means what it means where the listener is told to be.
    let shanghai = Zone::parse("Asia/Shanghai").unwrap();
    assert_eq!(time("<13>Jul  1 08:00:00 CST h a: x", &shanghai), "2026-07-01T00:00:00");
    assert_eq!(time("<13>Jul  1 08:00:00 CST h a: x", &Zone::UTC), "2026-07-01T14:00:00");
    assert_eq!(Zone::parse("Europe/Nowhere"), None);
    assert_eq!(Zone::parse("+99:99"), None);
}

#[test]
fn hosts() {
    let with_host = |host: &str| read(&format!("<13>Feb 27 08:00:00 {host} sshd[7]: x"));
    for host in [
        "web-1",
        "web_1.example.com",
        "203.0.113.9",
        "203.0.113.9:514",
        "2001:db8::9",
        "fe80::1%eth0",
        "::1",
        "00:1a:2b:3c:4d:5e",
        "slot1/big-ip",
        "(none)",
        "user@site",
        "büro",
    ] {
        let read = with_host(host);
        let name = host.as_bytes().escape_ascii();
        let expected = format!("user.notice 2026-02-27T08:00:00Z host={name} app=sshd proc=7 | x");
        assert_eq!(read, expected, "{host}");
    }
}

#[test]
fn lines_with_an_odd_host_or_none() {
    check(&[
        (
            "<13>Feb 27 08:00:00 [203.0.113.9] sshd[7]: x",
            "user.notice 2026-02-27T08:00:00Z host=203.0.113.9 app=sshd proc=7 | x",
        ),
        (
            "<13>Feb 27 08:00:00 203.0.113.9: x y",
            "user.notice 2026-02-27T08:00:00Z host=203.0.113.9 | x y",
        ),
        (
            "<13>Feb 27 08:00:00 2001:db8::9: x y",
            "user.notice 2026-02-27T08:00:00Z host=2001:db8::9 | x y",
        ),
        (
            "<13>Feb 27 08:00:00 - sshd[7]: x",
            "user.notice 2026-02-27T08:00:00Z app=sshd proc=7 | x",
        ),
        ("<13>Feb 27 08:00:00 sshd[7]: x", "user.notice 2026-02-27T08:00:00Z app=sshd proc=7 | x"),
        ("<13>Feb 27 08:00:00 web-1", "user.notice 2026-02-27T08:00:00Z host=web-1 | "),
        ("<13>Feb 27 08:00:00", "user.notice 2026-02-27T08:00:00Z | "),
        ("<13>Feb 27 08:00:00 : x", "user.notice 2026-02-27T08:00:00Z | x"),
        ("<13>Feb 27 08:00:00 web-1 : x", "user.notice 2026-02-27T08:00:00Z host=web-1 | x"),
        (
            "<13>Feb 27 08:00:00 web-1,rule=7,src=1 x",
            "user.notice 2026-02-27T08:00:00Z | web-1,rule=7,src=1 x",
        ),
        (
            "<13>Feb 27 08:00:00  web-1  sshd[7]: x",
            "user.notice 2026-02-27T08:00:00Z host=web-1 app=sshd proc=7 | x",
        ),
    ]);
}

#[test]
fn what_relays_and_devices_put_before_the_host() {
    check(&[
        // AIX, for what it passes on.
        (
            "<13>Feb 27 08:00:00 Message forwarded from aix-7: sshd[7]: x",
            "user.notice 2026-02-27T08:00:00Z host=aix-7 app=sshd proc=7 | x",
        ),
        // A relay put its header before another.
        (
            "<13>Feb 27 08:00:00 relay-1 Feb 27 07:59:59 web-1 sshd[7]: x",
            "user.notice 2026-02-27T08:00:00Z host=relay-1 | Feb 27 07:59:59 web-1 sshd[7]: x",
        ),
        // The priority by its names, which count where there is no other.
        (
            "Feb 27 08:00:00 daemon.info web-1 sshd[7]: x",
            "daemon.info 2026-02-27T08:00:00Z host=web-1 app=sshd proc=7 | x",
        ),
        (
            "<189>Feb 27 08:00:00 daemon.info web-1 sshd[7]: x",
            "local7.notice 2026-02-27T08:00:00Z host=web-1 app=sshd proc=7 | x",
        ),
        (
            "<189>Feb 27 08:00:00 daemon.information web-1 x",
            "local7.notice 2026-02-27T08:00:00Z host=daemon.information app=web-1 | x",
        ),
        // Said twice, once by the priority.
        (
            "<30>Feb 27 08:00:00 daemon.info web-1 sshd[7]: x",
            "daemon.info 2026-02-27T08:00:00Z host=web-1 app=sshd proc=7 | x",
        ),
        (
            "<30>Feb 27 08:00:00 web-1 info sshd[7]: x",
            "daemon.info 2026-02-27T08:00:00Z host=web-1 app=sshd proc=7 | x",
        ),
        (
            "<27>Feb 27 08:00:00 web-1 error sshd[7]: x",
            "daemon.err 2026-02-27T08:00:00Z host=web-1 app=sshd proc=7 | x",
        ),
        (
            "<30>Feb 27 08:00:00 web-1 error sshd[7]: x",
            "daemon.info 2026-02-27T08:00:00Z host=web-1 app=error | sshd[7]: x",
        ),
    ]);
}

#[test]
fn tags() {
    let with_tag = |tag: &str| read(&format!("<13>Feb 27 08:00:00 web-1 {tag} some text"));
    let head = "user.notice 2026-02-27T08:00:00Z host=web-1";
    for (tag, expected) in [
        ("sshd[7]:", "app=sshd proc=7 | some text"),
        ("sshd[7]", "app=sshd proc=7 | some text"),
        ("sshd:", "app=sshd | some text"),
        ("sshd :", "app=sshd | some text"),
        ("sshd", "app=sshd | some text"),
        ("sshd:   ", "app=sshd | some text"),
        ("/usr/sbin/cron[7]:", "app=/usr/sbin/cron proc=7 | some text"),
        ("CMDLOGGER[emWeb]:", "app=CMDLOGGER proc=emWeb | some text"),
        ("sshd(pam_audit)[7]:", "app=sshd(pam_audit) proc=7 | some text"),
        ("Foo::Bar[7]:", "app=Foo::Bar proc=7 | some text"),
        ("a:b:c:", "app=a:b:c | some text"),
        ("a:b[7]:", "app=a:b proc=7 | some text"),
        ("[358]:", "proc=358 | some text"),
        ("kernel:[12.5]", "app=kernel | [12.5] some text"),
        (
            "one-name-that-has-far-more-than-the-32-signs:",
            "app=one-name-that-has-far-more-than-the-32-signs | some text",
        ),
        ("0-PPE-0 :", "app=0-PPE-0 | some text"),
        ("-:", "| some text"),
        // What is no tag stays in the text.
        ("--", "| -- some text"),
        ("[APP][7]", "| [APP][7] some text"),
        ("{\"a\":", "| {\"a\": some text"),
        ("a=b", "| a=b some text"),
        ("1,2026/02/27", "| 1,2026/02/27 some text"),
        ("<Code>", "| <Code> some text"),
        ("http://a.example/", "| http://a.example/ some text"),
        ("c:\\temp", "| c:\\\\temp some text"),
        ("382", "| 382 some text"),
        (" sshd", "| sshd some text"),
        ("app[7]x", "| app[7]x some text"),
        ("app[", "| app[ some text"),
        ("MSWinEventLog\t1\t", "| MSWinEventLog\\t1\\t some text"),
        ("CEF:0|V|P|1|2|n|5|", "| CEF:0|V|P|1|2|n|5| some text"),
        ("LEEF:2.0|V|P|1|2|^|", "| LEEF:2.0|V|P|1|2|^| some text"),
        ("@cee:{\"a\":1}", "| @cee:{\"a\":1} some text"),
        ("sshd[7]: CEF:0|V", "app=sshd proc=7 | CEF:0|V some text"),
        ("last message repeated 3 times:", "| last message repeated 3 times: some text"),
        (
            "sshd[7]: [ID 800047 auth.info]",
            "app=sshd proc=7 id=800047 | [ID 800047 auth.info] some text",
        ),
    ] {
        assert_eq!(with_tag(tag), format!("{head} {expected}"), "{tag}");
    }
}

#[test]
fn lines_with_an_odd_tag_or_none() {
    check(&[
        (
            "<13>Feb 27 08:00:00 syslogd: restart",
            "user.notice 2026-02-27T08:00:00Z app=syslogd | restart",
        ),
        (
            "<13>Feb 27 08:00:00 last message repeated 2 times",
            "user.notice 2026-02-27T08:00:00Z | last message repeated 2 times",
        ),
        ("<13>Feb 27 08:00:00 CEF:0|V|P", "user.notice 2026-02-27T08:00:00Z | CEF:0|V|P"),
        (
            "<13>2026-02-27 08:00:00\treason=Allowed\tid=7",
            "user.notice 2026-02-27T08:00:00Z | reason=Allowed\\tid=7",
        ),
        // Without a time: a tag that is marked as one, nothing else.
        ("<30>dhcpd: lease", "daemon.info app=dhcpd | lease"),
        ("<30>dhcpd[7]: lease", "daemon.info app=dhcpd proc=7 | lease"),
        ("<30>the lease : ended", "daemon.info | the lease : ended"),
        ("<30>12:30:45 the end", "daemon.info | 12:30:45 the end"),
        ("<30>CEF:0|V|P", "daemon.info | CEF:0|V|P"),
        // Without a priority and a time: nothing says that this is syslog.
        ("dhcpd[7]: lease", "| dhcpd[7]: lease"),
        (
            "Feb 27 08:00:00 web-1 dhcpd[7]: lease",
            "2026-02-27T08:00:00Z host=web-1 app=dhcpd proc=7 | lease",
        ),
        (
            "<13>Feb 27 08:00:00 web-1 app: one\n\ttwo\n",
            "user.notice 2026-02-27T08:00:00Z host=web-1 app=app | one\\n\\ttwo",
        ),
        (
            "<13>Feb 27 08:00:00 web-1 app: a\0b\0\0",
            "user.notice 2026-02-27T08:00:00Z host=web-1 app=app | a\\x00b",
        ),
        (
            "<13>Feb 27 08:00:00 web-1 app: spaces  ",
            "user.notice 2026-02-27T08:00:00Z host=web-1 app=app | spaces  ",
        ),
    ]);
}

#[test]
fn cisco() {
    check(&[
        (
            "<189>29: foo: *Apr 29 13:58:40.411: %SYS-5-CONFIG_I: Configured",
            "local7.notice ~2026-04-29T13:58:40.411Z #29 host=foo | %SYS-5-CONFIG_I: Configured",
        ),
        (
            "<189>foo: 29: Apr 29 13:58:40.411 CEST: %SYS-5-CONFIG_I: Configured",
            "local7.notice 2026-04-29T11:58:40.411Z #29 host=foo | %SYS-5-CONFIG_I: Configured",
        ),
        (
            "<187>79: .Nov 18 11:12:31.123 GMT: %LINK-3-UPDOWN: down",
            "local7.err ~2025-11-18T11:12:31.123Z #79 | %LINK-3-UPDOWN: down",
        ),
        (
            "<189>5120: 005117: *Mar 01 00:00:09.5: %SYS-5-RESTART: up",
            "local7.notice ~2026-03-01T00:00:09.500Z #5117 | %SYS-5-RESTART: up",
        ),
        ("<189>29: %SYS-5-CONFIG_I: Configured", "local7.notice #29 | %SYS-5-CONFIG_I: Configured"),
        (
            "<189>: 2025 Jun 25 10:00:00 UTC: %DAEMON-3-SYSTEM_MSG: x",
            "local7.notice 2025-06-25T10:00:00Z | %DAEMON-3-SYSTEM_MSG: x",
        ),
        (
            "<166>Aug 08 2019 16:58:18: %ASA-6-302013: Built",
            "local4.info 2019-08-08T16:58:18Z | %ASA-6-302013: Built",
        ),
        (
            "<166>Aug 08 2019 16:58:18 fw-1 : %ASA-6-302013: Built",
            "local4.info 2019-08-08T16:58:18Z host=fw-1 | %ASA-6-302013: Built",
        ),
        (
            "<166>Aug 08 2019 16:58:18 fw-1: %ASA-6-302013: Built",
            "local4.info 2019-08-08T16:58:18Z host=fw-1 | %ASA-6-302013: Built",
        ),
        ("<166>%ASA-6-302013: Built", "local4.info | %ASA-6-302013: Built"),
        (
            "<189>Feb 27 08:00:00 203.0.113.9 29: *Apr 29 13:58:40.411: %SYS-5-CONFIG_I: x",
            "local7.notice 2026-02-27T08:00:00Z #29 host=203.0.113.9 \
             | *Apr 29 13:58:40.411: %SYS-5-CONFIG_I: x",
        ),
        // IOS XR names the node within the device.
        (
            "<189>RP/0/RSP0/CPU0:Apr 29 13:58:40.411 : config[657]: %MGBL-SYS-5: x",
            "local7.notice 2026-04-29T13:58:40.411Z host=RP/0/RSP0/CPU0 app=config proc=657 \
             | %MGBL-SYS-5: x",
        ),
    ]);
}

#[test]
fn bytes_that_are_not_utf8_stay_as_they_are() {
    let line = b"<13>Feb 27 08:00:00 web-1 app: caf\xe9";
    let read = read_in(line, RECEIVED_AT, &Zone::UTC);
    assert_eq!(read, "user.notice 2026-02-27T08:00:00Z host=web-1 app=app | caf\\xe9");
}

/// Text made of the pieces that headers are made of, so that the odd ways through the reader are
/// taken.
pub(super) fn headers() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "<13>",
        "<",
        ">",
        "1 ",
        "29: ",
        "*",
        ".",
        ":",
        " ",
        "  ",
        "-",
        "- ",
        "[",
        "]",
        "\"",
        "=",
        "\\",
        ";",
        "@",
        "Feb 27 08:00:00",
        "2026-02-27T08:00:00",
        "Z",
        "+01:00",
        " CEST",
        " 2019",
        " PM",
        "1772179201",
        "web-1",
        "sshd[7]: ",
        "::1",
        "203.0.113.9",
        "%ASA-6-1: ",
        "CEF:0|",
        "Message forwarded from a: ",
        "last message repeated 2 times",
        "info ",
        "user.notice ",
        "[id a=\"b\"]",
        "[ID 7 a.b] ",
        "x",
        "\n",
        "\0",
        "\t",
        "\u{feff}",
        "é",
    ];
    let piece = prop_oneof![
        9 => proptest::sample::select(pieces.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..16).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_read(line: Vec<u8>, received_at: i64) {
        parse(&line, EventTime::from_nanoseconds(received_at), &new_york());
    }

    #[test]
    fn any_header_is_read_and_no_part_overlaps_another(line in headers(), received_at: i64) {
        let message = parse(&line, EventTime::from_nanoseconds(received_at), &new_york());
        let mut ends = 0;
        let mut parts: Vec<Span> = [
            message.hostname, message.appname, message.procid, message.structured,
        ].into_iter().flatten().collect();
        // Behind a wrong priority the text is whole, and so begins with it.
        let first = line.iter().position(|byte| *byte == b'<');
        let wrong = first == Some(message.message.start);
        parts.extend((!wrong).then_some(message.message));
        parts.sort_by_key(|span| (span.start, span.end));
        for span in parts {
            prop_assert!(span.start >= ends && span.end <= line.len());
            ends = span.end;
        }
        prop_assert!(message.message.start <= message.message.end);
    }

    #[test]
    fn the_priority_survives_whatever_follows(number in 0..192_u8, rest in headers()) {
        let line = [format!("<{number}>").into_bytes(), rest].concat();
        let message = parse(&line, RECEIVED_AT, &Zone::UTC);
        prop_assert_eq!(message.priority, Priority::new(number));
    }

    #[test]
    fn times_are_read_as_chrono_writes_them(
        seconds in -9_000_000_000..9_000_000_000_i64,
        nanos in 0..1_000_000_000_u32,
        minutes in -1_000..1_000_i32,
    ) {
        let zone = chrono::FixedOffset::east_opt(minutes * 60).unwrap();
        let time = chrono::DateTime::from_timestamp(seconds, nanos).unwrap();
        let written = time.with_timezone(&zone).to_rfc3339();
        let line = format!("<13>1 {written} h a - - - x");
        let read = parse(line.as_bytes(), RECEIVED_AT, &Zone::UTC).time;
        prop_assert_eq!(read, Some(EventTime::from_chrono(time)));
    }

    #[test]
    fn a_time_without_year_is_at_most_half_a_year_off(
        seconds in 0..4_000_000_000_i64,
        received in 0..4_000_000_000_i64,
    ) {
        let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
        let line = format!("<13>{} h a: x", time.format("%b %e %H:%M:%S"));
        let received_at = EventTime::from_nanoseconds(received * 1_000_000_000);
        let read = parse(line.as_bytes(), received_at, &Zone::UTC).time.unwrap();
        let leap_day = line.contains("Feb 29");
        let days = (read.seconds() - received).abs() / 86_400;
        prop_assert!(days <= 183 || leap_day && days <= 8 * 366, "{days} days");
        let format = "%m-%d %H:%M:%S";
        let shown = read.to_chrono().format(format).to_string();
        prop_assert_eq!(shown, time.format(format).to_string());
    }
}
