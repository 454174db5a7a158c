//! Which URLs a notification may lead to.

use percent_encoding::percent_decode_str;
use url::Url;

/// Accepts a path that begins with exactly one `/`, or an https URL, so that a browser cannot be led anywhere else.
pub(crate) fn check_action_url(url: &str) -> Result<(), String> {
    const REQUIRED: &str = "must be a path that begins with a single / or an https URL, of at most 2048 bytes";
    let is_plain = url.len() <= 2_048 && !url.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\');
    let leads_where_it_says = if url.starts_with('/') { is_path(url) } else { is_https(url) };
    if is_plain && leads_where_it_says { Ok(()) } else { Err(REQUIRED.into()) }
}

/// Whether a browser stays on the page's own origin, also if a router decodes the path before it is followed.
fn is_path(path: &str) -> bool {
    let own = || Url::parse("https://own.invalid/").ok();
    let stays = |path: &str| {
        let (own, resolved) = (own()?, own()?.join(path).ok()?);
        Some(resolved.origin() == own.origin() && !resolved.path().starts_with("//"))
    };
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    !path.starts_with("//") && [path, &*decoded].into_iter().all(|path| stays(path) == Some(true))
}

/// Whether it names a host, and no user before it, which can make one address look like another.
fn is_https(url: &str) -> bool {
    let has_host = url.strip_prefix("https://").is_some_and(|rest| !rest.starts_with(['/', '?', '#']));
    let authority = url.split(['/', '?', '#']).nth(2).unwrap_or_default();
    has_host && !authority.contains('@') && Url::parse(url).is_ok_and(|url| url.has_host())
}
