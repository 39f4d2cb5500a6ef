// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EraManager} from "./EraManager.sol";
import {Messages} from "./Messages.sol";
import {OracleRegistry} from "./OracleRegistry.sol";
import {SlaDomain} from "./SlaDomain.sol";
import {SlaSettlement} from "./SlaSettlement.sol";

/// @title Evidence against oracles and roots
/// @notice Evidence only, no opinions: whoever shows it is right, whoever they are. It has no pause, so that no root
/// becomes final because nobody could object.
///
/// Equivocation, and leaves that cannot be true, are decided at once. That an oracle hides a receipt is decided
/// at once where its vote cannot be true; otherwise the vote only says a hash of all receipts, and the oracle is
/// asked for what it is the hash of: either the receipt is among them, or the oracle is slashed.
contract Disputes is SlaDomain, ReentrancyGuardTransient {
    using Messages for Messages.ChallengeReceipt;
    using Messages for Messages.ChallengeRequest;
    using Messages for Messages.Leaf;
    using Messages for Messages.SlaVote;
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @notice What a deployment chooses.
    struct Terms {
        /// What a challenger puts down for a question that is not decided at once, in the token's smallest unit.
        uint96 bond;
        /// What an oracle loses for a receipt that it hid, in the token's smallest unit.
        uint96 suppressionSlash;
        /// What of a slash goes to who showed the evidence, in ten-thousandths. Well below all of it, so that an
        /// oracle that reports itself loses the most of it.
        uint16 rewardBps;
        /// Seconds that an oracle has to answer.
        uint32 answerWindow;
        /// Seconds after the end of an era in which it can be disputed; nodes keep their receipts for so long.
        uint32 evidenceAge;
    }

    /// @notice An open question. Four storage slots.
    struct Question {
        address challenger;
        uint96 bond;
        address oracle;
        /// Until when it may be answered, in seconds since 1970.
        uint48 answerBy;
        /// The vote's era, which is over: its number is less than the seconds since 1970.
        uint48 era;
        bytes32 receiptsRoot;
        bytes32 nodeId;
    }

    /// @notice Receipts of a vote at most: the protocol has one for each oracle, node and era.
    uint256 public constant RECEIPTS_MAX = 64;

    /// @notice Half, in ten-thousandths: the most that a reporter may get.
    uint16 public constant REWARD_BPS_MAX = 5000;

    /// @notice Where roots are.
    SlaSettlement public immutable roots;

    /// @notice Where the oracles' stakes are.
    OracleRegistry public immutable oracles;

    /// @notice When eras begin and end.
    EraManager public immutable eras;

    /// @notice The token of bonds.
    IERC20 public immutable token;

    Terms private _terms;

    /// @notice Votes, by digest, that were shown to hide a receipt, or to be one of two on the same: they are no votes,
    /// and no root is computed from them any more.
    mapping(bytes32 voteDigest => bool) public voided;

    /// @notice Open questions, by vote and receipt.
    mapping(bytes32 voteDigest => mapping(bytes32 receiptDigest => Question)) public questions;

    /// @notice Questions that were ever asked: each is asked once.
    mapping(bytes32 voteDigest => mapping(bytes32 receiptDigest => bool)) public asked;

    /// @notice An oracle signed two votes.
    event EquivocationShown(
        address indexed oracle, bytes32 indexed nodeId, uint64 indexed era, bytes32 first, bytes32 second
    );
    /// @notice An oracle is asked for the receipts behind its vote. The request says what node and era it is of.
    event ReceiptsAsked(
        bytes32 indexed voteDigest,
        bytes32 indexed receiptDigest,
        address indexed oracle,
        bytes32 nodeId,
        uint64 era,
        address challenger,
        uint64 answerBy
    );
    /// @notice The receipt was among those that the vote was made from: the challenger's bond is the oracle's.
    event ReceiptsShown(bytes32 indexed voteDigest, bytes32 indexed receiptDigest, address indexed oracle);
    /// @notice A vote is none any more. The evidence is the digest of the receipt that it hid, or of the other vote
    /// of the same oracle on the same node and era. What follows votes needs no more than this event.
    event VoteVoided(
        address indexed oracle,
        bytes32 indexed nodeId,
        uint64 indexed era,
        bytes32 voteDigest,
        bytes32 evidence,
        address challenger
    );

    /// @notice The votes are not of one oracle, node and era.
    error NotOfOne();
    /// @notice There is only one vote.
    error NoConflict();
    /// @notice It was in no set of oracles, ever: its votes count nowhere.
    error NeverAnOracle(address account);
    /// @notice Not signed by the oracle.
    error NotTheOracle(address expected, address signer);
    /// @notice The era is not over, or too long ago.
    error BadAge(uint64 era);
    /// @notice Receipt, request and vote do not belong together.
    error DoNotMatch();
    /// @notice The receipt is of a challenge that was not passed.
    error NotPassed();
    /// @notice The question was asked before, or the vote is void already.
    error AskedBefore();
    /// @notice There is no such question.
    error NoQuestion();
    /// @notice The bond was taken back already.
    error NoBond();
    /// @notice The time to answer is over, or is not.
    error BadTime(uint64 answerBy);
    /// @notice This is not what the vote has the hash of, or the receipt is not in it.
    error NoAnswer();
    /// @notice The leaf is not in the root.
    error NotInRoot(uint256 rootId, bytes32 leaf);
    /// @notice The leaves can be true.
    error CanBeTrue();
    /// @notice The terms cannot work.
    error BadTerms();

    constructor(
        SlaSettlement settlement_,
        OracleRegistry oracles_,
        EraManager eras_,
        IERC20 token_,
        Terms memory terms_
    ) SlaDomain(address(settlement_)) {
        // An oracle's stake must outlast the last question about its last era.
        bool lasts = uint256(terms_.evidenceAge) + terms_.answerWindow <= oracles_.unbonding();
        if (!lasts || terms_.bond == 0 || terms_.rewardBps > REWARD_BPS_MAX) revert BadTerms();
        roots = settlement_;
        oracles = oracles_;
        eras = eras_;
        token = token_;
        _terms = terms_;
    }

    /// @notice Two votes of one oracle on one node and era: both are void, and it loses all of its stake and signs no
    /// more.
    function showEquivocation(
        Messages.SlaVote calldata first,
        bytes calldata firstSignature,
        Messages.SlaVote calldata second,
        bytes calldata secondSignature
    ) external nonReentrant {
        if (first.oracleId != second.oracleId || first.nodeId != second.nodeId || first.era != second.era) {
            revert NotOfOne();
        }
        _requireOracle(first.oracleId);
        bytes32 a = _signed(first.hash(), firstSignature, first.oracleId);
        bytes32 b = _signed(second.hash(), secondSignature, first.oracleId);
        if (a == b) revert NoConflict();
        emit EquivocationShown(first.oracleId, first.nodeId, first.era, a, b);
        _mark(a, b, first.oracleId, first.nodeId, first.era, msg.sender);
        _mark(b, a, first.oracleId, first.nodeId, first.era, msg.sender);
        bytes32 evidence = keccak256(abi.encode(a, b));
        oracles.slash(first.oracleId, type(uint256).max, msg.sender, _terms.rewardBps, true, evidence);
    }

    /// @notice A receipt of a passed challenge that the oracle's vote does not count. Decided at once where the vote
    /// says that nothing was passed, nothing proven, or no receipt given; otherwise the oracle is asked, and the
    /// sender's bond is taken.
    /// @dev The daemon's signature on the request is not needed: the oracle's receipt is of its digest.
    function showReceipt(
        Messages.SlaVote calldata vote,
        bytes calldata voteSignature,
        Messages.ChallengeRequest calldata request,
        Messages.ChallengeReceipt calldata receipt,
        bytes calldata receiptSignature
    ) external nonReentrant {
        _checkAge(vote.era);
        _requireOracle(vote.oracleId);
        bytes32 voteDigest = _signed(vote.hash(), voteSignature, vote.oracleId);
        bytes32 receiptDigest = _signed(receipt.hash(), receiptSignature, vote.oracleId);
        _checkReceipt(vote, request, receipt);
        if (voided[voteDigest] || asked[voteDigest][receiptDigest]) revert AskedBefore();
        asked[voteDigest][receiptDigest] = true;
        bool cannotBeTrue =
            vote.passed == 0 || vote.receiptsRoot == keccak256("") || (vote.provenBytes == 0 && request.totalBytes > 0);
        if (cannotBeTrue) _void(voteDigest, receiptDigest, vote.oracleId, vote.nodeId, vote.era, msg.sender);
        else _ask(vote, voteDigest, receiptDigest);
    }

    /// @notice Shows the digests of all receipts that a vote was made from. Open to anyone, so that an oracle needs
    /// no tokens of its own. The bond is added to the oracle's stake.
    function answer(bytes32 voteDigest, bytes32 receiptDigest, bytes32[] calldata receipts) external nonReentrant {
        Question memory question = _question(voteDigest, receiptDigest);
        if (block.timestamp > question.answerBy) revert BadTime(question.answerBy);
        if (receipts.length > RECEIPTS_MAX || keccak256(abi.encodePacked(receipts)) != question.receiptsRoot) {
            revert NoAnswer();
        }
        bool found;
        for (uint256 i; i < receipts.length; ++i) {
            if (receipts[i] == receiptDigest) found = true;
        }
        if (!found) revert NoAnswer();
        delete questions[voteDigest][receiptDigest];
        emit ReceiptsShown(voteDigest, receiptDigest, question.oracle);
        token.forceApprove(address(oracles), question.bond);
        oracles.deposit(question.oracle, question.bond);
    }

    /// @notice The oracle did not answer in time: its vote is void, it is slashed, and the bond goes back, if it was not
    /// taken back before. Open to anyone. Waits while governance has taken the role to slash from this contract: who
    /// could choose to close without a slash would.
    function close(bytes32 voteDigest, bytes32 receiptDigest) external nonReentrant {
        Question memory question = _overdue(voteDigest, receiptDigest);
        delete questions[voteDigest][receiptDigest];
        if (question.bond > 0) token.safeTransfer(question.challenger, question.bond);
        // Of two receipts that one vote hides, one is enough.
        if (!voided[voteDigest]) {
            _void(voteDigest, receiptDigest, question.oracle, question.nodeId, question.era, question.challenger);
        }
    }

    /// @notice The oracle did not answer in time: the bond goes back, and the question stays until it is closed. Open to
    /// anyone. A bond waits for nobody, whatever closing waits for.
    function takeBack(bytes32 voteDigest, bytes32 receiptDigest) external nonReentrant {
        Question memory question = _overdue(voteDigest, receiptDigest);
        if (question.bond == 0) revert NoBond();
        questions[voteDigest][receiptDigest].bond = 0;
        token.safeTransfer(question.challenger, question.bond);
    }

    /// @notice A root that has a leaf of another era than its own is cancelled.
    function refuteEra(
        uint256 rootId,
        Messages.EraRoot calldata root,
        Messages.Leaf calldata leaf,
        bytes32[] calldata proof
    ) external {
        roots.requireRoot(rootId, root);
        bytes32 hash = _requireLeaf(rootId, root.root, leaf, proof);
        if (leaf.toEra == root.toEra) revert CanBeTrue();
        roots.cancel(rootId, root, hash);
    }

    /// @notice A root that has two different leaves of one node is cancelled.
    function refuteTwice(
        uint256 rootId,
        Messages.EraRoot calldata root,
        Messages.Leaf calldata first,
        bytes32[] calldata firstProof,
        Messages.Leaf calldata second,
        bytes32[] calldata secondProof
    ) external {
        roots.requireRoot(rootId, root);
        bytes32 a = _requireLeaf(rootId, root.root, first, firstProof);
        bytes32 b = _requireLeaf(rootId, root.root, second, secondProof);
        if (first.nodeId != second.nodeId || a == b) revert CanBeTrue();
        roots.cancel(rootId, root, keccak256(abi.encode(a, b)));
    }

    /// @notice A root in which a node has less than in one before it, or more by more than all nodes together were
    /// given since, is cancelled. Both for rewards and for penalties.
    function refuteCourse(
        uint256 beforeId,
        Messages.Leaf calldata before,
        bytes32[] calldata beforeProof,
        uint256 rootId,
        Messages.EraRoot calldata root,
        Messages.Leaf calldata leaf,
        bytes32[] calldata proof
    ) external {
        roots.requireRoot(rootId, root);
        if (before.nodeId != leaf.nodeId || beforeId >= rootId) revert NotOfOne();
        SlaSettlement.Posted memory earlier = roots.rootAt(beforeId);
        SlaSettlement.Posted memory later = roots.rootAt(rootId);
        bytes32 a = _requireLeaf(beforeId, earlier.root, before, beforeProof);
        bytes32 b = _requireLeaf(rootId, later.root, leaf, proof);
        // A sum of penalties that ended at what fits says nothing of what was given since.
        uint256 penalty = later.penalty == type(uint96).max ? type(uint256).max : later.penalty - earlier.penalty;
        bool can = _canFollow(before.cumulativeReward, leaf.cumulativeReward, later.reward - earlier.reward)
            && _canFollow(before.cumulativePenalty, leaf.cumulativePenalty, penalty);
        if (can) revert CanBeTrue();
        roots.cancel(rootId, root, keccak256(abi.encode(a, b)));
    }

    /// @notice The terms of disputes.
    function terms() external view returns (Terms memory) {
        return _terms;
    }

    function _checkReceipt(
        Messages.SlaVote calldata vote,
        Messages.ChallengeRequest calldata request,
        Messages.ChallengeReceipt calldata receipt
    ) private view {
        if (
            receipt.requestHash != _digest(request.hash()) || request.oracleId != vote.oracleId
                || request.nodeId != vote.nodeId || request.era != vote.era || request.configDigest != vote.configDigest
        ) revert DoNotMatch();
        if (receipt.result != Messages.PASSED) revert NotPassed();
    }

    function _ask(Messages.SlaVote calldata vote, bytes32 voteDigest, bytes32 receiptDigest) private {
        uint96 bond = _terms.bond;
        uint64 answerBy = uint64(block.timestamp + _terms.answerWindow);
        questions[voteDigest][receiptDigest] = Question({
            challenger: msg.sender,
            bond: bond,
            oracle: vote.oracleId,
            answerBy: uint48(answerBy),
            era: uint48(vote.era),
            receiptsRoot: vote.receiptsRoot,
            nodeId: vote.nodeId
        });
        emit ReceiptsAsked(voteDigest, receiptDigest, vote.oracleId, vote.nodeId, vote.era, msg.sender, answerBy);
        token.safeTransferFrom(msg.sender, address(this), bond);
    }

    function _void(
        bytes32 voteDigest,
        bytes32 receiptDigest,
        address oracle,
        bytes32 nodeId,
        uint64 era,
        address challenger
    ) private {
        _mark(voteDigest, receiptDigest, oracle, nodeId, era, challenger);
        bytes32 evidence = keccak256(abi.encode(voteDigest, receiptDigest));
        oracles.slash(oracle, _terms.suppressionSlash, challenger, _terms.rewardBps, false, evidence);
    }

    function _mark(bytes32 voteDigest, bytes32 evidence, address oracle, bytes32 nodeId, uint64 era, address challenger)
        private
    {
        if (voided[voteDigest]) return;
        voided[voteDigest] = true;
        emit VoteVoided(oracle, nodeId, era, voteDigest, evidence, challenger);
    }

    function _question(bytes32 voteDigest, bytes32 receiptDigest) private view returns (Question memory question) {
        question = questions[voteDigest][receiptDigest];
        if (question.challenger == address(0)) revert NoQuestion();
    }

    function _overdue(bytes32 voteDigest, bytes32 receiptDigest) private view returns (Question memory question) {
        question = _question(voteDigest, receiptDigest);
        if (block.timestamp <= question.answerBy) revert BadTime(question.answerBy);
    }

    function _requireOracle(address account) private view {
        (, uint64 lastSet,) = oracles.oracles(account);
        if (lastSet == 0) revert NeverAnOracle(account);
    }

    function _checkAge(uint64 era) private view {
        if (eras.currentEra() <= era || block.timestamp > eras.endOf(era) + _terms.evidenceAge) revert BadAge(era);
    }

    function _signed(bytes32 structHash, bytes calldata signature, address oracle)
        private
        view
        returns (bytes32 digest)
    {
        digest = _digest(structHash);
        address signer = ECDSA.recoverCalldata(digest, signature);
        if (signer != oracle) revert NotTheOracle(oracle, signer);
    }

    function _requireLeaf(uint256 rootId, bytes32 root, Messages.Leaf calldata leaf, bytes32[] calldata proof)
        private
        pure
        returns (bytes32 hash)
    {
        hash = leaf.leaf();
        if (!MerkleProof.verifyCalldata(proof, root, hash)) revert NotInRoot(rootId, hash);
    }

    function _canFollow(uint256 before, uint256 now_, uint256 given) private pure returns (bool) {
        return now_ >= before && now_ - before <= given;
    }
}
