//! How durable an accept is to be, as a call or the deployment says.

/// How durable an accept is to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Accept {
    /// It is committed before the response.
    #[default]
    Durable,
    /// The moment has it before the response, where that is possible.
    Fast,
}

impl Accept {
    /// The value of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "durable" => Some(Self::Durable),
            "fast" => Some(Self::Fast),
            _ => None,
        }
    }
}
