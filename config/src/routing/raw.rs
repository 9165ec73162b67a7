//! raw
use serde::Deserialize;
/// a
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawRouting {}
/// a
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawRouter {}
/// a
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawRouterTls {}
/// a
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawService {}
/// a
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawMiddleware {}
/// a
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawTcpRouter {}
/// a
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawTcpService {}
/// a
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawTcpMiddleware {}
/// a
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawUdpRouter {}
/// a
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawUdpService {}
