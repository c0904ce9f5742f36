//! The addresses in a `Forwarded` field (RFC 7239), from the last to the first.
//!
//! The field is read from its end. What each proxy has added is well formed as far as it is trusted,
//! and so is read as it was meant, whatever stands before it: a client that leaves a quoted string
//! open could swallow all that follows if the beginning were read first.

use std::iter;
use std::net::IpAddr;

/// For each element of a list, from the last to the first, the address that its request came from;
/// `None` where it names none, hides it, or cannot be read.
pub(super) fn addresses(field: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    items(field, b',').map(|element| address(element?))
}

/// The address in the one `for` of an element.
fn address(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    for pair in items(element, b';') {
        let pair = pair?;
        let equals = pair.iter().position(|byte| *byte == b'=');
        let Some(equals) = equals else {
            if pair.is_empty() {
                continue;
            }
            return None;
        };
        if pair[..equals].eq_ignore_ascii_case(b"for")
            && found.replace(node(&pair[equals + 1..])?).is_some()
        {
            // No parameter may be there twice (section 4).
            return None;
        }
    }
    found
}

/// The address of a node (section 6), with a port or without. `unknown` and names that begin with an
/// underscore have none.
fn node(value: &[u8]) -> Option<IpAddr> {
    let value = str::from_utf8(value).ok()?;
    let Some(quoted) = value.strip_prefix('"') else {
        // Colons and brackets are quoted, so that this is all that can stand here.
        return value.parse().ok().map(IpAddr::V4);
    };
    let node = quoted.strip_suffix('"')?;
    let name_end = match node.find(']') {
        Some(bracket) => bracket + 1,
        None => node.find(':').unwrap_or(node.len()),
    };
    let (name, port) = node.split_at(name_end);
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return None;
    }
    match name.strip_prefix('[') {
        Some(name) => name.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => name.parse().ok().map(IpAddr::V4),
    }
}

/// A number, or a name for it that begins with an underscore.
fn is_port(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

/// The items of a list from the last to the first, ending with `None` where one cannot be read.
fn items(list: &[u8], separator: u8) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = Some(list);
    iter::from_fn(move || {
        let cut = cut_last(rest.take()?, separator);
        Some(cut.map(|(before, last)| {
            rest = before;
            last.trim_ascii()
        }))
    })
}

/// Cuts a list before its last item. A separator in a quoted string is none; a string that nobody has
/// begun makes an item that cannot be read.
fn cut_last(list: &[u8], separator: u8) -> Option<(Option<&[u8]>, &[u8])> {
    let mut is_quoted = false;
    for (at, byte) in list.iter().enumerate().rev() {
        match byte {
            b'"' if !is_quoted => is_quoted = true,
            b'"' => is_quoted = is_escaped(&list[..at]),
            byte if *byte == separator && !is_quoted => {
                return Some((Some(&list[..at]), &list[at + 1..]));
            }
            _ => {}
        }
    }
    (!is_quoted).then_some((None, list))
}

/// Whether what follows these bytes is escaped: backslashes escape each other in pairs.
fn is_escaped(before: &[u8]) -> bool {
    let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\');
    backslashes.count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    /// The addresses of a list from the last to the first; `-` where there is none.
    fn read(field: &str) -> String {
        let told = addresses(field.as_bytes())
            .map(|found| found.map_or_else(|| "-".to_owned(), |address| address.to_string()));
        told.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn addresses_are_read_from_the_last_to_the_first() {
        for (field, addresses) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"192.0.2.1\"", "192.0.2.1"),
            ("for=\"192.0.2.1:4711\"", "192.0.2.1"),
            ("for=\"192.0.2.1:_port\"", "192.0.2.1"),
            ("for=\"[2001:db8::1]\"", "2001:db8::1"),
            ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("proto=http;for=192.0.2.1; by=203.0.113.9;", "192.0.2.1"),
            ("for=192.0.2.1, for=192.0.2.2", "192.0.2.2 192.0.2.1"),
            ("for=192.0.2.1 ,\tfor=unknown", "- 192.0.2.1"),
            ("host=\"a, for=192.0.2.2\";for=192.0.2.1", "192.0.2.1"),
            ("host=\"a\\\", for=x;\\\\\";for=192.0.2.1", "192.0.2.1"),
            ("for=\"x, for=192.0.2.1", "192.0.2.1 -"),
        ] {
            assert_eq!(read(field), addresses, "{field}");
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for field in [
            "",
            "for=",
            "for",
            "for=unknown",
            "for=_hidden",
            "for=\"_hidden:4711\"",
            "for=\"",
            "for=\"192.0.2.1",
            "for=192.0.2.1\"",
            "for=192.0.2.1:4711",
            "for=[2001:db8::1]",
            "for=2001:db8::1",
            "for=\"2001:db8::1\"",
            "for=\"[192.0.2.1]\"",
            "for=\"[2001:db8::1\"",
            "for=\"[2001:db8::1]4711\"",
            "for=\"192.0.2.1:\"",
            "for=\"192.0.2.1\\\"\"",
            "for= 192.0.2.1",
            "for=192.0.2.1;for=192.0.2.2",
            "for=192.0.2.1;proto",
            "by=192.0.2.1",
            "xfor=192.0.2.1",
            "192.0.2.1",
        ] {
            assert_eq!(read(field), "-", "{field}");
        }
    }

    proptest! {
        #[test]
        fn nothing_before_an_element_changes_it(
            before in r#"[fFor=";,:.\[\]\\ 0-9_x]{0,40}"#,
            host in r#"([ !#-\[\]-~]|\\["\\]){0,12}"#,
            ip: IpAddr,
        ) {
            let node = match ip {
                IpAddr::V4(ip) => format!("for={ip}"),
                IpAddr::V6(ip) => format!("for=\"[{ip}]:80\""),
            };
            for element in [format!("{node};host=\"{host}\""), format!("host=\"{host}\";{node}")] {
                let field = format!("{before},{element}");
                prop_assert_eq!(addresses(field.as_bytes()).next(), Some(Some(ip)), "{}", field);
            }
        }

        #[test]
        fn any_bytes_are_read_to_their_end(
            field in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                r#"(for=|"|;|,|\[|\]|:|\\|192\.0\.2\.1|::1){0,20}"#.prop_map(String::into_bytes),
            ],
        ) {
            let text = String::from_utf8_lossy(&field).into_owned();
            let found: Vec<_> = addresses(&field).collect();
            prop_assert!(found.len() <= field.len() + 1);
            for address in found.into_iter().flatten() {
                let is_there = text.split(['=', '"', '[', ']', ';', ','])
                    .map(|part| part.split_once(':').map_or(part, |(name, _)| {
                        if part.parse::<Ipv6Addr>().is_ok() { part } else { name }
                    }))
                    .any(|part| part.trim().parse() == Ok(address));
                prop_assert!(is_there, "{} not in {}", address, text);
            }
        }
    }
}
