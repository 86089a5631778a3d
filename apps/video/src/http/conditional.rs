//! Conditional requests (RFC 9110 §13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, Method, header};

use super::entity_tag::EntityTag;

/// What identifies the present version of a resource.
#[derive(Clone, Debug)]
pub struct Validators {
    /// From the content.
    pub entity_tag: EntityTag,
    /// When the file was changed last, in whole seconds.
    pub last_modified: SystemTime,
}

/// What the preconditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Do what is asked.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// HTTP dates have no fractions.
#[must_use]
pub fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// Evaluates the preconditions in the order of RFC 9110 §13.2.2; without `current` the resource does
/// not exist.
#[must_use]
pub fn evaluate(method: &Method, headers: &HeaderMap, current: Option<&Validators>) -> Verdict {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if headers.contains_key(header::IF_MATCH) {
        if !lists(headers, &header::IF_MATCH, current, false) {
            return Verdict::Failed;
        }
    } else if let (Some(limit), Some(current)) =
        (date(headers, &header::IF_UNMODIFIED_SINCE), current)
        && current.last_modified > limit
    {
        return Verdict::Failed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        if lists(headers, &header::IF_NONE_MATCH, current, true) {
            return if reads {
                Verdict::NotModified
            } else {
                Verdict::Failed
            };
        }
    } else if let (true, Some(since), Some(current)) =
        (reads, date(headers, &header::IF_MODIFIED_SINCE), current)
        && current.last_modified <= since
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// True unless `If-Range` names another version (RFC 9110 §13.1.5): then the whole is to be sent.
#[must_use]
pub fn range_applies(headers: &HeaderMap, current: &Validators) -> bool {
    let Some(field) = headers.get(header::IF_RANGE) else {
        return true;
    };
    if field.as_bytes().trim_ascii().ends_with(b"\"") {
        return current.entity_tag.matches_strongly(field.as_bytes());
    }
    date(headers, &header::IF_RANGE) == Some(current.last_modified)
}

fn lists(
    headers: &HeaderMap,
    name: &HeaderName,
    current: Option<&Validators>,
    weakly: bool,
) -> bool {
    let Some(current) = current else {
        return false;
    };
    let mut values = headers
        .get_all(name)
        .iter()
        .map(http::HeaderValue::as_bytes);
    values.any(|list| list.trim_ascii() == b"*" || current.entity_tag.is_in(list, weakly))
}

/// The date in a field; an invalid one counts as absent (RFC 9110 §13.1.3).
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const CHANGED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn current() -> Validators {
        Validators {
            entity_tag: EntityTag::from_digest(&[0xab; 32]),
            last_modified: httpdate::parse_http_date(CHANGED).expect("a date"),
        }
    }

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let tag = current().entity_tag.to_string();
        let field = |(name, value): &(HeaderName, &str)| {
            let value = value.replace("TAG", &tag);
            (
                name.clone(),
                HeaderValue::from_str(&value).expect("a value"),
            )
        };
        fields.iter().map(field).collect()
    }

    fn verdict(method: &Method, fields: &[(HeaderName, &str)]) -> Verdict {
        evaluate(method, &headers(fields), Some(&current()))
    }

    #[test]
    fn tags_decide_before_dates() {
        use header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
        let get = &Method::GET;
        assert_eq!(verdict(get, &[]), Verdict::Proceed);
        assert_eq!(
            verdict(get, &[(IF_NONE_MATCH, "\"x\", W/TAG")]),
            Verdict::NotModified
        );
        assert_eq!(verdict(get, &[(IF_NONE_MATCH, "*")]), Verdict::NotModified);
        assert_eq!(
            verdict(&Method::PUT, &[(IF_NONE_MATCH, "*")]),
            Verdict::Failed
        );
        assert_eq!(
            verdict(
                get,
                &[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, CHANGED)]
            ),
            Verdict::Proceed
        );
        assert_eq!(
            verdict(get, &[(IF_MODIFIED_SINCE, CHANGED)]),
            Verdict::NotModified
        );
        assert_eq!(
            verdict(get, &[(IF_MODIFIED_SINCE, BEFORE)]),
            Verdict::Proceed
        );
        assert_eq!(
            verdict(get, &[(IF_MODIFIED_SINCE, "yesterday")]),
            Verdict::Proceed
        );
        assert_eq!(verdict(get, &[(IF_MATCH, "TAG")]), Verdict::Proceed);
        assert_eq!(verdict(get, &[(IF_MATCH, "W/TAG")]), Verdict::Failed);
        assert_eq!(
            verdict(get, &[(IF_MATCH, "*"), (IF_UNMODIFIED_SINCE, BEFORE)]),
            Verdict::Proceed
        );
        assert_eq!(
            verdict(get, &[(IF_UNMODIFIED_SINCE, BEFORE)]),
            Verdict::Failed
        );
        assert_eq!(
            verdict(get, &[(IF_UNMODIFIED_SINCE, CHANGED)]),
            Verdict::Proceed
        );
    }

    #[test]
    fn what_does_not_exist_matches_nothing() {
        let put = |fields: &[(HeaderName, &str)]| evaluate(&Method::PUT, &headers(fields), None);
        assert_eq!(put(&[(header::IF_MATCH, "*")]), Verdict::Failed);
        assert_eq!(put(&[(header::IF_NONE_MATCH, "*")]), Verdict::Proceed);
    }

    #[test]
    fn if_range_takes_only_the_very_same_version() {
        let applies =
            |value: &str| range_applies(&headers(&[(header::IF_RANGE, value)]), &current());
        assert!(range_applies(&HeaderMap::new(), &current()));
        assert!(applies("TAG"));
        assert!(applies(CHANGED));
        assert!(!applies("W/TAG"));
        assert!(!applies("\"other\""));
        assert!(!applies(BEFORE));
        assert!(!applies("Mon, 07 Nov 1994 08:49:37 GMT"));
        assert!(!applies("nonsense"));
    }
}
