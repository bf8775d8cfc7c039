//! Permits: a device has a few requests of any kind at work at once; more of them wait, without a connection to the store.
//!
//! Kept in memory and by each server alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lianka_sync_core::id::DeviceId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::auth::error::AuthError;

/// Requests of one device at work at once, of whatever kind, and those that may wait for it.
const AT_WORK_MAX: usize = 6;
const WAITING_MAX: usize = 64;
/// Longer than honest requests wait at the worst of times; then the phone is told to come back.
const WAIT_MAX: Duration = Duration::from_secs(15);

type Devices = Arc<Mutex<HashMap<DeviceId, Requests>>>;

/// See the module.
#[derive(Default)]
pub struct Permits(Devices);

/// Requests of one device.
struct Requests {
    at_work: Arc<Semaphore>,
    present: usize,
}

/// A request of a device at work.
pub struct Permit {
    _present: Present,
    _permit: OwnedSemaphorePermit,
}

/// A request of a device that is at work or waits.
struct Present {
    devices: Devices,
    device: DeviceId,
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut devices = lock(&self.devices);
        if let Some(own) = devices.get_mut(&self.device) {
            own.present = own.present.saturating_sub(1);
            if own.present == 0 {
                devices.remove(&self.device);
            }
        }
    }
}

impl Permits {
    /// A permit for any request of a device, once one of its own is free.
    pub async fn take(&self, device: DeviceId) -> Result<Permit, AuthError> {
        let (at_work, present) = {
            let mut devices = self.devices();
            let own = devices.entry(device).or_insert_with(|| Requests {
                at_work: Arc::new(Semaphore::new(AT_WORK_MAX)),
                present: 0,
            });
            if own.present >= AT_WORK_MAX + WAITING_MAX {
                return Err(AuthError::TooManyRequests);
            }
            own.present += 1;
            (
                Arc::clone(&own.at_work),
                Present {
                    devices: Arc::clone(&self.0),
                    device,
                },
            )
        };
        let permit = timeout(WAIT_MAX, at_work.acquire_owned()).await;
        // The semaphore is never closed.
        let permit = permit
            .ok()
            .and_then(Result::ok)
            .ok_or(AuthError::TooManyRequests)?;
        Ok(Permit {
            _present: present,
            _permit: permit,
        })
    }

    fn devices(&self) -> MutexGuard<'_, HashMap<DeviceId, Requests>> {
        lock(&self.0)
    }
}

fn lock(devices: &Devices) -> MutexGuard<'_, HashMap<DeviceId, Requests>> {
    devices.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn device(n: u128) -> DeviceId {
        DeviceId(Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn a_device_has_a_few_requests_at_work_and_a_bounded_number_waiting() {
        let permits = Permits::default();
        let mut at_work = Vec::new();
        for _ in 0..AT_WORK_MAX {
            at_work.push(permits.take(device(1)).await.expect("a permit"));
        }
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| Box::pin(permits.take(device(1))))
            .collect();
        let mut waiting = futures::future::join_all(waiting);
        assert!(futures::poll!(&mut waiting).is_pending(), "they wait");
        assert!(matches!(
            permits.take(device(1)).await,
            Err(AuthError::TooManyRequests)
        ));
        assert!(permits.take(device(2)).await.is_ok(), "nobody else does");
        drop(waiting);
        drop(at_work);
        assert!(permits.take(device(1)).await.is_ok());
        assert!(permits.devices().is_empty(), "all permits are given back");
    }
}
