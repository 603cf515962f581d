//! Tower layers that know nothing of Docker.
