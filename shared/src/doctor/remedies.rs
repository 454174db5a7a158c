//! What to do about a variable.

/// What to do about a variable that is missing or does not meet its requirement.
pub fn of(variable: &str) -> &'static str {
    match variable {
        "JWT_SECRET" | "JWT_ENCRYPTION_KEY" | "JWT_SECRET_PREVIOUS" => {
            "make a secret with `openssl rand -hex 32`; all functions and the signer of tokens share it"
        }
        "JWT_JWKS_URL" | "JWT_ISSUER" | "JWT_AUDIENCE" => {
            "set JWT_JWKS_URL, JWT_ISSUER and JWT_AUDIENCE as the identity provider documents them, and no JWT_SECRET"
        }
        "DATABASE_URL" | "FUNCTIONS_DATABASE_URL" => {
            "set it to postgres://user:password@host/database, with the user and password percent-encoded"
        }
        "DATABASE_POOLER" => "leave it out, or set transaction for a pooler that does not track prepared statements",
        "ALLOWED_ORIGINS" => "list the origin of each page as https://app.example.com, with commas between and no path",
        "ENABLE_TEST_ENDPOINTS" => "set it to false, or leave it out: test pages are never part of production",
        "RATE_LIMIT_SEND" | "RATE_LIMIT_CHAT" | "RATE_LIMIT_FRAMES" => "write a count and a window, such as 30/60s",
        "OTEL_EXPORTER_OTLP_ENDPOINT" => {
            "set the address of a collector beside the function, http://localhost:4318, or leave it out"
        }
        "PORT" | "WS_PORT" => "set a port that is free, or leave it out for 3000",
        name if name.starts_with("VAPID_") => {
            "run `carillon vapid` once and set its three variables; browsers subscribe with the public key, so keep it"
        }
        name if name.starts_with("REDIS_") || name == "QUEUE_REDIS_ENABLED" => {
            "set REDIS_URL=redis://[user:password@]host[:port], REDIS_URLS for several, or QUEUE_REDIS_ENABLED=false for none"
        }
        _ => "correct it, or leave it out for its default",
    }
}
