//! The ICN protocol, version 5.0.3 (Solidity 0.8.28), as far as its documents and readers show it. Some readers see a
//! node without `bookings`: which form a deployment has is configured, not guessed.

// The macro makes public fields and helpers without a word on them.
#[allow(
    missing_docs,
    missing_debug_implementations,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::too_many_arguments,
    reason = "made by the macro; the names are the protocol's own"
)]
mod protocol {
    alloy::sol! {
        #[derive(Debug, PartialEq, Eq)]
        struct Booking {
            uint256 bookingPrice;
            uint256 startBookingPeriod;
            uint256 bookingPeriod;
        }

        #[derive(Debug, PartialEq, Eq)]
        struct ScalerNode {
            uint8 status;
            uint256 creationDate;
            string name;
            uint256 totalCapacity;
            uint256 utilizedCapacity;
            uint256 hpId;
            uint8 location;
            string clusterId;
            uint256 reservationPrice;
            uint256 bookingPrice;
            uint256 nodeRewardShare;
            string hwClass;
            address daemonAddress;
            uint256 collateralAmount;
            uint256 commitmentDuration;
            uint256 commitmentStart;
            address spIdUnused;
            uint256 activationEra;
            uint256 startBookingPeriod;
            uint256 bookingPeriod;
            Booking[2] bookings;
            uint256 spId;
        }

        #[derive(Debug, PartialEq, Eq)]
        struct ScalerNodePlain {
            uint8 status;
            uint256 creationDate;
            string name;
            uint256 totalCapacity;
            uint256 utilizedCapacity;
            uint256 hpId;
            uint8 location;
            string clusterId;
            uint256 reservationPrice;
            uint256 bookingPrice;
            uint256 nodeRewardShare;
            string hwClass;
            address daemonAddress;
            uint256 collateralAmount;
            uint256 commitmentDuration;
            uint256 commitmentStart;
            address spIdUnused;
            uint256 activationEra;
            uint256 startBookingPeriod;
            uint256 bookingPeriod;
            uint256 spId;
        }

        interface IcnV5 {
            function getScalerNode(uint256 scalerNodeId) external view returns (ScalerNode);
            function getProtocolScalerNodeStatus(uint256 scalerNodeId) external view returns (uint8);
            function getNodeTotalDelegatedICNT(uint256 scalerNodeId) external view returns (uint256);
            function unclaimedHpRewards(uint256 scalerNodeId) external view returns (uint256 nodeClaimable, uint256 delegatorRewards);
            function getHpRewardClaimDelay() external view returns (uint256);
            function initiateHpRewardsClaim(uint256 scalerNodeId) external;
            function batchInitiateHpRewardsClaim(uint256[] scalerNodeIds) external;
            function claimHpRewards(uint256 claimIndex) external;
        }
    }
}

pub use protocol::{Booking, IcnV5, ScalerNode, ScalerNodePlain};

/// Which form of a node a deployment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 5.0.3, as its source has it: with `bookings`.
    V5_0_3,
    /// 5.0.3, as some readers see it: without.
    V5_0_3Plain,
}
