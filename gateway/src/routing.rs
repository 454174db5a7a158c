//! Finds the route for a request to the HTTP API or the REST API, by API Gateway's order of precedence.

use std::cmp::Reverse;

use crate::request::percent_decode;

/// The routes of an API, each with its target.
pub(crate) struct Routes<T>(Vec<Route<T>>);

struct Route<T> {
    /// `GET /rooms/{id}` or `$default`, the `routeKey` of events.
    key: String,
    /// `None` for `ANY`.
    method: Option<String>,
    /// `None` for `$default`.
    segments: Option<Vec<Segment>>,
    target: T,
}

enum Segment {
    Literal(String),
    /// Matches one segment that is not empty.
    Variable(String),
    /// Matches the rest of the path, at least one character.
    Greedy(String),
}

/// A route that matches a request.
pub(crate) struct Matched<'a, T> {
    /// The route's key, such as `GET /rooms/{id}`.
    pub(crate) key: &'a str,
    /// The route's path, such as `/rooms/{id}`.
    pub(crate) path: &'a str,
    /// The route's target.
    pub(crate) target: &'a T,
    /// The path variables and their decoded values, in the order of the path.
    pub(crate) parameters: Vec<(&'a str, String)>,
}

/// How specific a route is; the most specific match wins. `$default` loses to any path, a greedy path to any other,
/// a variable to a literal (compared from the left), and `ANY` to a method.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Specificity {
    is_path: bool,
    is_greedy: Reverse<bool>,
    literals: Vec<bool>,
    has_method: bool,
}

impl<T> Routes<T> {
    /// Routes from (method, path, target). The method may be `ANY`, the path `$default`.
    pub(crate) fn new(routes: impl IntoIterator<Item = (String, String, T)>) -> Self {
        Self(routes.into_iter().map(|(method, path, target)| Route::new(method, &path, target)).collect())
    }

    /// The route for a method and a path, which is still percent-encoded. The values of variables are decoded.
    pub(crate) fn find(&self, method: &str, path: &str) -> Option<Matched<'_, T>> {
        let segments: Vec<String> = path.split('/').skip(1).map(percent_decode).collect::<Option<_>>()?;
        self.most_specific(method, &segments)
    }

    /// Like [`find`](Self::find), but nothing is decoded: a REST API leaves paths as they are.
    pub(crate) fn find_encoded(&self, method: &str, path: &str) -> Option<Matched<'_, T>> {
        self.most_specific(method, &encoded_segments(path))
    }

    /// The methods that routes of this path have, `None` standing for `ANY`. The path is not decoded.
    pub(crate) fn methods_at(&self, path: &str) -> Vec<Option<&str>> {
        let segments = encoded_segments(path);
        let routes = self.0.iter().filter(|route| route.parameters(&segments).is_some());
        routes.map(|route| route.method.as_deref()).collect()
    }

    fn most_specific(&self, method: &str, segments: &[String]) -> Option<Matched<'_, T>> {
        let candidates = self.0.iter().filter(|route| route.method.as_ref().is_none_or(|own| own == method));
        let matched = candidates.filter_map(|route| Some((route.specificity(), route.parameters(segments)?, route)));
        let (_, parameters, route) = matched.max_by(|(left, ..), (right, ..)| left.cmp(right))?;
        let path = route.key.split_once(' ').map_or(route.key.as_str(), |(_, path)| path);
        Some(Matched { key: &route.key, path, target: &route.target, parameters })
    }
}

fn encoded_segments(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(str::to_owned).collect()
}

impl<T> Route<T> {
    fn new(method: String, path: &str, target: T) -> Self {
        let key = if path == "$default" { path.to_owned() } else { format!("{method} {path}") };
        let segments = (path != "$default").then(|| path.split('/').skip(1).map(Segment::new).collect());
        Self { key, method: Some(method).filter(|method| method != "ANY"), segments, target }
    }

    fn specificity(&self) -> Specificity {
        let segments = self.segments.as_deref().unwrap_or_default();
        Specificity {
            is_path: self.segments.is_some(),
            is_greedy: Reverse(matches!(segments.last(), Some(Segment::Greedy(_)))),
            literals: segments.iter().map(|segment| matches!(segment, Segment::Literal(_))).collect(),
            has_method: self.method.is_some(),
        }
    }

    /// The path variables and their values; `None` if the path does not match.
    fn parameters(&self, path: &[String]) -> Option<Vec<(&str, String)>> {
        let mut parameters = Vec::new();
        let Some(segments) = &self.segments else {
            return Some(parameters);
        };
        let mut left = path.iter();
        for segment in segments {
            match segment {
                Segment::Literal(literal) => (left.next()? == literal).then_some(())?,
                Segment::Variable(name) => {
                    let value = left.next().filter(|value| !value.is_empty())?;
                    parameters.push((name.as_str(), value.clone()));
                }
                Segment::Greedy(name) => {
                    let rest = left.by_ref().map(String::as_str).collect::<Vec<_>>().join("/");
                    (!rest.is_empty()).then_some(())?;
                    parameters.push((name.as_str(), rest));
                }
            }
        }
        left.next().is_none().then_some(parameters)
    }
}

impl Segment {
    fn new(text: &str) -> Self {
        match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(name) => match name.strip_suffix('+') {
                Some(name) => Self::Greedy(name.to_owned()),
                None => Self::Variable(name.to_owned()),
            },
            None => Self::Literal(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes<()> {
        let routes = [
            ("ANY", "$default"),
            ("ANY", "/{proxy+}"),
            ("GET", "/pets/{proxy+}"),
            ("GET", "/pets/dog/{id}"),
            ("ANY", "/pets/dog/{id}"),
            ("GET", "/pets/dog/1"),
            ("ANY", "/"),
        ];
        Routes::new(routes.map(|(method, path)| (method.to_owned(), path.to_owned(), ())))
    }

    #[track_caller]
    fn goes_to(method: &str, path: &str, key: &str, parameters: &[(&str, &str)]) {
        let routes = routes();
        let matched = routes.find(method, path).unwrap();
        let found: Vec<_> = matched.parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!((matched.key, found.as_slice()), (key, parameters), "{method} {path}");
    }

    #[test]
    fn the_most_specific_route_wins() {
        goes_to("GET", "/pets/dog/1", "GET /pets/dog/1", &[]);
        goes_to("GET", "/pets/dog/2", "GET /pets/dog/{id}", &[("id", "2")]);
        goes_to("POST", "/pets/dog/1", "ANY /pets/dog/{id}", &[("id", "1")]);
        goes_to("GET", "/pets/cat/1", "GET /pets/{proxy+}", &[("proxy", "cat/1")]);
        goes_to("POST", "/pets/cat/1", "ANY /{proxy+}", &[("proxy", "pets/cat/1")]);
        goes_to("GET", "/", "ANY /", &[]);
    }

    #[test]
    fn a_variable_matches_one_segment_that_is_not_empty() {
        goes_to("GET", "/pets/dog/", "GET /pets/{proxy+}", &[("proxy", "dog/")]);
        goes_to("GET", "/pets/dog/a%2Fb", "GET /pets/dog/{id}", &[("id", "a/b")]);
        goes_to("GET", "/pets/dog/space%20value", "GET /pets/dog/{id}", &[("id", "space value")]);
    }

    #[test]
    fn no_route_is_found_if_none_matches() {
        let routes = Routes::new([("GET".to_owned(), "/rooms/{id}".to_owned(), ())]);
        for (method, path) in [("POST", "/rooms/7"), ("GET", "/rooms"), ("GET", "/rooms/7/"), ("HEAD", "/rooms/7")] {
            assert!(routes.find(method, path).is_none(), "{method} {path}");
        }
    }
}
