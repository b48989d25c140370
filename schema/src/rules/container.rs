//! What an engine accepts: paths, owners, modes, images, schedules, signals, limits, capabilities.

/// The limits of processes that Docker knows (`--ulimit`).
pub(super) const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The capabilities of Linux, capabilities(7), without `CAP_`.
pub(super) const CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

pub(super) fn is_capability(name: &str) -> bool {
    name == "ALL" || CAPABILITIES.contains(&name)
}

/// Returns whether `text` is `SIGTERM`, `TERM`, `SIGRTMIN+3` or a number.
pub(super) fn is_signal(text: &str) -> bool {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let number = |text: &str, from, to| text.parse::<u8>().is_ok_and(|n| (from..=to).contains(&n));
    let real_time = name
        .strip_prefix("RTMIN+")
        .or_else(|| name.strip_prefix("RTMAX-"))
        .is_some_and(|offset| number(offset, 1, 15));
    SIGNALS.contains(&name) || real_time || matches!(name, "RTMIN" | "RTMAX") || number(text, 1, 64)
}

pub(super) fn is_env_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !name.contains(char::is_whitespace)
}

/// Checks an absolute, normalised path that is not the root.
pub(super) fn check_path(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("it is not absolute");
    }
    if path == "/" {
        return Err("it is the root");
    }
    if path.contains(|c: char| c.is_control()) || path.contains([':', ',']) {
        return Err("it holds a character that an engine does not accept");
    }
    if path[1..].split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("it has an empty part, `.` or `..`");
    }
    Ok(())
}

/// Returns whether `path` is `folder` or lies in it.
pub(super) fn is_inside(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reads `uid` or `uid:gid`; a group that is left out is 0, as `chown` leaves it.
pub(crate) fn parse_owner(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse::<u32>().ok()).flatten()
    };
    match text.split_once(':') {
        Some((uid, gid)) => Some((number(uid)?, number(gid)?)),
        None => number(text).map(|uid| (uid, 0)),
    }
}

/// Reads an octal mode of three or four digits.
pub(crate) fn parse_mode(text: &str) -> Option<u32> {
    let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    octal.then(|| u32::from_str_radix(text, 8).ok()).flatten()
}

/// Returns whether a text is a host name or an IPv4 address.
pub(super) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// Checks `[registry[:port]/]path[:tag][@sha256:digest]`, as the distribution reference grammar has it.
pub(super) fn check_image(image: &str) -> Result<(), String> {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").ok_or("its digest does not start with `sha256:`")?;
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err("its digest is not `sha256:` and 64 hexadecimal digits".into());
        }
    }
    let last = name.rsplit('/').next().unwrap_or_default();
    let (path, tag) = match last.split_once(':') {
        Some((_, tag)) => (&name[..name.len() - tag.len() - 1], Some(tag)),
        None => (name, None),
    };
    let tag_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if tag.is_some_and(|tag| {
        tag.is_empty() || tag.len() > 128 || !tag.chars().all(tag_char) || tag.starts_with(['.', '-'])
    }) {
        return Err("its tag is not valid".into());
    }
    let mut parts = path.split('/').peekable();
    let first = parts.peek().copied().unwrap_or_default();
    let registry = path.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    for part in parts.skip(usize::from(registry)) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '-');
        if part.is_empty() || !part.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err("a part of its name is empty or starts with a sign".into());
        }
        if let Some(c) = part.chars().find(|c| !plain(*c)) {
            return Err(format!("`{c}` is not allowed in its name"));
        }
    }
    Ok(())
}

/// Checks a cron expression of five fields with numbers, `*`, lists, ranges and steps.
pub(super) fn check_schedule(text: &str) -> Result<(), String> {
    const FIELDS: [(&str, u32, u32); 5] = [
        ("minute", 0, 59),
        ("hour", 0, 23),
        ("day of month", 1, 31),
        ("month", 1, 12),
        ("day of week", 0, 7),
    ];
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("it has {} fields, not five", fields.len()));
    }
    for (field, (name, low, high)) in fields.into_iter().zip(FIELDS) {
        if !field.split(',').all(|part| is_cron_part(part, low, high)) {
            return Err(format!("the {name} `{field}` is not from {low} to {high}"));
        }
    }
    Ok(())
}

fn is_cron_part(part: &str, low: u32, high: u32) -> bool {
    let number = |text: &str| {
        text.parse::<u32>().ok().filter(|n| (low..=high).contains(n)).or_else(|| word(text, high))
    };
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    if step.is_some_and(|step| !step.parse::<u32>().is_ok_and(|step| (1..=high).contains(&step))) {
        return false;
    }
    match range.split_once('-') {
        Some((from, to)) => number(from).zip(number(to)).is_some_and(|(from, to)| from <= to),
        None => range == "*" || number(range).is_some(),
    }
}

/// Returns the number of `MON` or `JAN` in the fields that know names.
fn word(text: &str, high: u32) -> Option<u32> {
    let names: &[&str] = match high {
        12 => &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
        7 => &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
        _ => return None,
    };
    let first = u32::from(high == 12);
    let at = names.iter().position(|name| name.eq_ignore_ascii_case(text))?;
    u32::try_from(at).ok().map(|at| at + first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_checked_as_an_engine_would() {
        let digest = "a".repeat(64);
        for good in
            ["postgres", "postgres:17.7-alpine3.22", "ghcr.io/a/b:1", "localhost:5000/x", "trueup-demo/pg:1"]
        {
            assert_eq!(check_image(good), Ok(()), "{good}");
        }
        assert_eq!(check_image(&format!("a:1@sha256:{digest}")), Ok(()));
        for wrong in ["", "a:", "A", "a b", "a@sha256:12", "a@md5:1", "/a", "a//b", "https://a/b", "a:ü"] {
            assert!(check_image(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn schedules_have_five_fields() {
        for good in ["0 3 * * *", "*/15 0-6,22 1 JAN-MAR mon", "0 0 * * 7"] {
            assert_eq!(check_schedule(good), Ok(()), "{good}");
        }
        for wrong in
            ["", "* * * *", "60 * * * *", "* * * * 8", "5-1 * * * *", "*/0 * * * *", "@daily", "a * * * *"]
        {
            assert!(check_schedule(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths_in_containers_are_absolute_and_normalised() {
        assert_eq!(check_path("/etc/app.conf"), Ok(()));
        for wrong in ["", "/", "etc", "/a/../b", "/a//b", "/a/", "/a:b"] {
            assert!(check_path(wrong).is_err(), "{wrong}");
        }
        assert!(
            is_inside("/data/x", "/data") && is_inside("/data", "/data") && !is_inside("/data2", "/data")
        );
    }

    #[test]
    fn owners_modes_and_signals_are_read_strictly() {
        assert_eq!(parse_owner("70"), Some((70, 0)));
        assert_eq!(parse_owner("70:71"), Some((70, 71)));
        assert_eq!(parse_owner("postgres"), None);
        assert_eq!(parse_owner("+1:2"), None);
        assert_eq!(parse_mode("0444"), Some(0o444));
        assert_eq!(parse_mode("888"), None);
        assert_eq!(parse_mode("4"), None);
        assert!(is_signal("SIGTERM") && is_signal("QUIT") && is_signal("SIGRTMIN+3") && is_signal("15"));
        assert!(!is_signal("SIGNOPE") && !is_signal("0") && !is_signal(""));
    }
}
