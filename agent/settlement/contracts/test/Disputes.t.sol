// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {vm} from "../script/Cheats.sol";
import {Disputes} from "../src/Disputes.sol";
import {Messages} from "../src/Messages.sol";
import {OracleRegistry} from "../src/OracleRegistry.sol";
import {Fixture} from "./Fixture.sol";

contract DisputesTest is Fixture {
    using Messages for *;

    bytes32 private constant NODE = keccak256("node");
    address private constant CHALLENGER = address(0xC4A1);

    uint256 private _key;
    address private _oracle;

    function setUp() public override {
        super.setUp();
        (_key, _oracle) = (oracleKeys[0], vm.addr(oracleKeys[0]));
        icnt.mint(CHALLENGER, 2 * DISPUTE_BOND);
        vm.prank(CHALLENGER);
        icnt.approve(address(net.disputes), 2 * DISPUTE_BOND);
        vm.warp(net.eras.startOf(6));
        _signVotes();
    }

    function _request() private view returns (Messages.ChallengeRequest memory) {
        return Messages.ChallengeRequest({
            nodeId: NODE,
            oracleId: _oracle,
            era: 5,
            nonce: 0,
            dataRoot: 0,
            objects: 1,
            totalBytes: 1000,
            configDigest: net.oracles.configDigest(5)
        });
    }

    function _receipt() private view returns (Messages.ChallengeReceipt memory) {
        return Messages.ChallengeReceipt(_digest(_request().hash()), 0, Messages.PASSED, 1, 1, 1);
    }

    /// @dev A vote that can be true, of a receipt with this digest.
    function _vote(bytes32 receiptDigest) private view returns (Messages.SlaVote memory) {
        return Messages.SlaVote({
            oracleId: _oracle,
            nodeId: NODE,
            era: 5,
            issued: 10,
            passed: 10,
            medianLatencyUs: 1,
            medianBytesPerSecond: 1,
            provenBytes: 1000,
            receiptsRoot: keccak256(abi.encodePacked(receiptDigest)),
            configDigest: net.oracles.configDigest(5)
        });
    }

    function _bondOf(address oracle) private view returns (uint256 bond) {
        (bond,,) = net.oracles.oracles(oracle);
    }

    /// @dev Shows a receipt against a vote, both signed by the oracle.
    function _show(Messages.SlaVote memory vote, Messages.ChallengeReceipt memory receipt, bytes4 refused)
        private
        returns (bytes32 voteDigest, bytes32 receiptDigest)
    {
        (voteDigest, receiptDigest) = (_digest(vote.hash()), _digest(receipt.hash()));
        (bytes memory a, bytes memory b) = (_sign(_key, vote.hash()), _sign(_key, receipt.hash()));
        Messages.ChallengeRequest memory request = _request();
        if (refused != 0) vm.expectPartialRevert(refused);
        vm.prank(CHALLENGER);
        net.disputes.showReceipt(vote, a, request, receipt, b);
    }

    function test_an_oracle_that_votes_twice_loses_all_and_signs_no_more() public {
        Messages.SlaVote memory first = _vote(0);
        Messages.SlaVote memory second = _vote(0);
        second.passed = 9;
        (bytes memory a, bytes memory b) = (_sign(_key, first.hash()), _sign(_key, second.hash()));
        vm.expectRevert(Disputes.NoConflict.selector);
        net.disputes.showEquivocation(first, a, first, a);
        vm.expectPartialRevert(Disputes.NotTheOracle.selector);
        net.disputes.showEquivocation(first, a, second, a);
        (bytes32 one, bytes32 other) = (_digest(first.hash()), _digest(second.hash()));
        vm.expectEmit(address(net.disputes));
        emit Disputes.EquivocationShown(_oracle, NODE, 5, one, other);
        vm.expectEmit(address(net.disputes));
        emit Disputes.VoteVoided(_oracle, NODE, 5, one, other, CHALLENGER);
        vm.expectEmit(address(net.disputes));
        emit Disputes.VoteVoided(_oracle, NODE, 5, other, one, CHALLENGER);
        vm.prank(CHALLENGER);
        net.disputes.showEquivocation(first, a, second, b);
        _true(net.disputes.voided(one) && net.disputes.voided(other), "void");
        _eq(_bondOf(_oracle), 0);
        _eq(icnt.balanceOf(CHALLENGER), 2 * DISPUTE_BOND + MIN_BOND / 10);
        _eq(net.oracles.treasuryDue(), MIN_BOND - MIN_BOND / 10);
        Messages.EraRoot memory root = _next(0, 0, 0);
        bytes[] memory signatures = _quorum(root.hash(), 3);
        vm.expectPartialRevert(OracleRegistry.Jailed.selector);
        net.settlement.post(root, signatures);
    }

    function test_votes_on_other_eras_or_nodes_are_no_conflict() public {
        Messages.SlaVote memory first = _vote(0);
        bytes memory a = _sign(_key, first.hash());
        for (uint256 i; i < 3; ++i) {
            Messages.SlaVote memory second = _vote(0);
            if (i == 0) second.era = 4;
            if (i == 1) second.nodeId = 0;
            if (i == 2) second.oracleId = ANYONE;
            bytes memory b = _sign(_key, second.hash());
            vm.expectRevert(Disputes.NotOfOne.selector);
            net.disputes.showEquivocation(first, a, second, b);
        }
    }

    /// @dev Votes of two oracles on two eras, each once with one count and once with another, and one of another receipt;
    /// signed once, as signing is what takes the time.
    Messages.SlaVote[9] private _votes;
    bytes[9] private _signatures;
    bytes32[9] private _digests;
    bytes private _receiptSignature;
    bytes32 private _receiptDigest;

    function _signVotes() private {
        _receiptSignature = _sign(_key, _receipt().hash());
        _receiptDigest = _digest(_receipt().hash());
        for (uint256 i; i < 9; ++i) {
            uint256 key = oracleKeys[i & 1];
            Messages.SlaVote memory vote = _vote(i < 8 ? _receiptDigest : bytes32(0));
            (vote.oracleId, vote.era, vote.passed) = (vm.addr(key), i & 2 == 0 ? 5 : 4, i & 4 == 0 ? 10 : 9);
            (_votes[i], _digests[i], _signatures[i]) = (vote, _digest(vote.hash()), _sign(key, vote.hash()));
        }
    }

    /// @dev Any two votes with any two signatures: an oracle loses its stake exactly if both are its own, of one era,
    /// and differ.
    function testFuzz_only_two_votes_of_one_are_a_conflict(uint8 a, uint8 b, uint8 signedA, uint8 signedB) public {
        (a, b) = (a % 8, b % 8);
        // Mostly the right signatures.
        (signedA, signedB) = (signedA < 200 ? a : signedA % 8, signedB < 200 ? b : signedB % 8);
        bool conflict = a != b && a & 3 == b & 3 && signedA == a && signedB == b;
        address oracle = _votes[a].oracleId;
        try net.disputes.showEquivocation(_votes[a], _signatures[signedA], _votes[b], _signatures[signedB]) {
            _true(conflict, "slashed");
            _eq(_bondOf(oracle), 0);
        } catch {
            _true(!conflict, "not slashed");
            _eq(_bondOf(oracle), MIN_BOND);
        }
    }

    function test_a_vote_that_cannot_be_true_is_void_at_once() public {
        for (uint256 i; i < 3; ++i) {
            Messages.SlaVote memory vote = _vote(0);
            if (i == 0) vote.passed = 0;
            if (i == 1) vote.provenBytes = 0;
            if (i == 2) vote.receiptsRoot = keccak256("");
            vm.expectEmit(address(net.disputes));
            emit Disputes.VoteVoided(_oracle, NODE, 5, _digest(vote.hash()), _receiptDigest, CHALLENGER);
            (bytes32 voteDigest,) = _show(vote, _receipt(), 0);
            _true(net.disputes.voided(voteDigest), "void");
            _eq(_bondOf(_oracle), MIN_BOND - (i + 1) * SUPPRESSION);
            _eq(icnt.balanceOf(CHALLENGER), 2 * DISPUTE_BOND + (i + 1) * SUPPRESSION / 10);
            _show(vote, _receipt(), Disputes.AskedBefore.selector);
        }
    }

    function test_an_oracle_that_does_not_answer_is_slashed() public {
        Messages.SlaVote memory vote = _vote(keccak256("another"));
        (bytes32 voteDigest, bytes32 receiptDigest) = _show(vote, _receipt(), 0);
        _eq(icnt.balanceOf(CHALLENGER), DISPUTE_BOND);
        bytes32[] memory shown = new bytes32[](1);
        shown[0] = keccak256("another");
        vm.expectRevert(Disputes.NoAnswer.selector);
        net.disputes.answer(voteDigest, receiptDigest, shown);
        shown[0] = receiptDigest;
        vm.expectRevert(Disputes.NoAnswer.selector);
        net.disputes.answer(voteDigest, receiptDigest, shown);
        vm.expectPartialRevert(Disputes.BadTime.selector);
        net.disputes.close(voteDigest, receiptDigest);
        vm.warp(block.timestamp + 3 days + 1);
        vm.expectPartialRevert(Disputes.BadTime.selector);
        net.disputes.answer(voteDigest, receiptDigest, shown);
        vm.expectEmit(address(net.disputes));
        emit Disputes.VoteVoided(_oracle, NODE, 5, voteDigest, receiptDigest, CHALLENGER);
        net.disputes.close(voteDigest, receiptDigest);
        _true(net.disputes.voided(voteDigest), "void");
        _eq(icnt.balanceOf(CHALLENGER), 2 * DISPUTE_BOND + SUPPRESSION / 10);
        _eq(_bondOf(_oracle), MIN_BOND - SUPPRESSION);
        vm.expectRevert(Disputes.NoQuestion.selector);
        net.disputes.close(voteDigest, receiptDigest);
        _show(vote, _receipt(), Disputes.AskedBefore.selector);
    }

    function test_a_vote_that_is_one_of_two_is_void_and_a_question_about_it_gives_the_bond_back() public {
        Messages.SlaVote memory first = _vote(keccak256("another"));
        (bytes32 voteDigest, bytes32 receiptDigest) = _show(first, _receipt(), 0);
        Messages.SlaVote memory second = _vote(0);
        (bytes memory a, bytes memory b) = (_sign(_key, first.hash()), _sign(_key, second.hash()));
        vm.prank(ANYONE);
        net.disputes.showEquivocation(first, a, second, b);
        _show(second, _receipt(), Disputes.AskedBefore.selector);
        (,,, uint48 answerBy, uint48 era,, bytes32 nodeId) = net.disputes.questions(voteDigest, receiptDigest);
        _eq(era, 5);
        _eq(nodeId, NODE);
        vm.warp(uint256(answerBy) + 1);
        net.disputes.close(voteDigest, receiptDigest);
        _eq(icnt.balanceOf(CHALLENGER), 2 * DISPUTE_BOND);
        _eq(_bondOf(_oracle), 0);
    }

    function test_an_oracle_that_answers_has_the_bond() public {
        bytes32 receiptDigest = _digest(_receipt().hash());
        (bytes32 voteDigest,) = _show(_vote(receiptDigest), _receipt(), 0);
        bytes32[] memory shown = new bytes32[](1);
        shown[0] = receiptDigest;
        net.oracles.pause();
        vm.prank(ANYONE);
        net.disputes.answer(voteDigest, receiptDigest, shown);
        _eq(_bondOf(_oracle), MIN_BOND + DISPUTE_BOND);
        _eq(icnt.balanceOf(address(net.disputes)), 0);
        vm.expectRevert(Disputes.NoQuestion.selector);
        net.disputes.answer(voteDigest, receiptDigest, shown);
        _show(_vote(receiptDigest), _receipt(), Disputes.AskedBefore.selector);
    }

    function test_a_bond_comes_back_also_while_nobody_can_be_slashed() public {
        (bytes32 voteDigest, bytes32 receiptDigest) = _show(_vote(keccak256("another")), _receipt(), 0);
        vm.expectPartialRevert(Disputes.BadTime.selector);
        net.disputes.takeBack(voteDigest, receiptDigest);
        vm.warp(block.timestamp + 3 days + 1);
        bytes32 role = net.oracles.SLASHER_ROLE();
        net.oracles.revokeRole(role, address(net.disputes));
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        net.disputes.close(voteDigest, receiptDigest);
        vm.prank(ANYONE);
        net.disputes.takeBack(voteDigest, receiptDigest);
        _eq(icnt.balanceOf(CHALLENGER), 2 * DISPUTE_BOND);
        vm.expectRevert(Disputes.NoBond.selector);
        net.disputes.takeBack(voteDigest, receiptDigest);
        _true(!net.disputes.voided(voteDigest), "not decided yet");
        // What it would have lost it loses when the question is closed, whoever has the bond.
        net.oracles.grantRole(role, address(net.disputes));
        net.disputes.close(voteDigest, receiptDigest);
        _true(net.disputes.voided(voteDigest), "void");
        _eq(icnt.balanceOf(CHALLENGER), 2 * DISPUTE_BOND + SUPPRESSION / 10);
        _eq(_bondOf(_oracle), MIN_BOND - SUPPRESSION);
        _eq(icnt.balanceOf(address(net.disputes)), 0);
        vm.expectRevert(Disputes.NoQuestion.selector);
        net.disputes.takeBack(voteDigest, receiptDigest);
    }

    function test_evidence_is_of_who_is_or_was_an_oracle() public {
        (uint256 key, address stranger) = (0xBEEF, vm.addr(0xBEEF));
        // A stake alone makes no oracle.
        _bond(stranger, MIN_BOND);
        (Messages.SlaVote memory first, Messages.SlaVote memory second) = (_vote(0), _vote(0));
        (first.oracleId, second.oracleId, second.passed) = (stranger, stranger, 0);
        (bytes memory a, bytes memory b) = (_sign(key, first.hash()), _sign(key, second.hash()));
        bytes memory never = abi.encodeWithSelector(Disputes.NeverAnOracle.selector, stranger);
        vm.expectRevert(never);
        net.disputes.showEquivocation(first, a, second, b);
        bytes memory c = _sign(key, _receipt().hash());
        (Messages.ChallengeRequest memory request, Messages.ChallengeReceipt memory receipt) = (_request(), _receipt());
        vm.expectRevert(never);
        net.disputes.showReceipt(second, b, request, receipt, c);
        _true(!net.disputes.voided(_digest(first.hash())) && !net.disputes.voided(_digest(second.hash())), "not void");
        _eq(_bondOf(stranger), MIN_BOND);
        // One that is in the newest set no more was an oracle when it voted.
        address[] memory others = new address[](3);
        for (uint256 i; i < 3; ++i) {
            others[i] = vm.addr(oracleKeys[i + 1]);
        }
        uint64 next = net.eras.currentEra() + net.eras.LEAD_ERAS();
        net.oracles.schedule(others, 16, next);
        vm.warp(net.eras.startOf(next));
        net.disputes.showEquivocation(_votes[0], _signatures[0], _votes[4], _signatures[4]);
        _eq(_bondOf(_oracle), 0);
    }

    function test_receipt_request_and_vote_belong_together() public {
        Messages.ChallengeReceipt memory receipt = _receipt();
        receipt.result = 2;
        _show(_vote(0), receipt, Disputes.NotPassed.selector);
        receipt = _receipt();
        receipt.requestHash = 0;
        _show(_vote(0), receipt, Disputes.DoNotMatch.selector);
        for (uint256 i; i < 2; ++i) {
            Messages.SlaVote memory other = _vote(0);
            if (i == 0) other.nodeId = 0;
            if (i == 1) other.configDigest = 0;
            _show(other, _receipt(), Disputes.DoNotMatch.selector);
        }
        Messages.SlaVote memory vote = _vote(0);
        (bytes memory a, bytes memory b) = (_sign(_key, vote.hash()), _sign(oracleKeys[1], _receipt().hash()));
        (Messages.ChallengeRequest memory request, Messages.ChallengeReceipt memory given) = (_request(), _receipt());
        vm.expectPartialRevert(Disputes.NotTheOracle.selector);
        net.disputes.showReceipt(vote, a, request, given, b);
    }

    function test_what_is_too_old_or_not_over_is_not_disputed() public {
        vm.warp(net.eras.endOf(5) - 1);
        _show(_vote(0), _receipt(), Disputes.BadAge.selector);
        vm.warp(net.eras.endOf(5) + 14 days + 1);
        _show(_vote(0), _receipt(), Disputes.BadAge.selector);
        vm.warp(net.eras.endOf(5) + 14 days);
        _show(_vote(0), _receipt(), 0);
    }

    function test_a_leaf_of_another_era_refutes_its_root() public {
        bytes32[] memory none = new bytes32[](0);
        Messages.Leaf memory leaf = _leaf(NODE, 9, 1, 0);
        (uint256 id, Messages.EraRoot memory root) = _postOne(leaf, 1, 0);
        net.disputes.refuteEra(id, root, leaf, none);
        _eq(net.settlement.rootCount(), 0);
        leaf = _leaf(NODE, 0, 1, 0);
        (id, root) = _postOne(leaf, 1, 0);
        vm.expectRevert(Disputes.CanBeTrue.selector);
        net.disputes.refuteEra(id, root, leaf, none);
        leaf.toEra = 9;
        vm.expectPartialRevert(Disputes.NotInRoot.selector);
        net.disputes.refuteEra(id, root, leaf, none);
    }

    function test_two_leaves_of_one_node_refute_their_root() public {
        Messages.Leaf memory a = _leaf(NODE, 0, 1, 0);
        Messages.Leaf memory b = _leaf(NODE, 0, 2, 0);
        (bytes32[] memory proofA, bytes32[] memory proofB) = (new bytes32[](1), new bytes32[](1));
        (proofA[0], proofB[0]) = (b.leaf(), a.leaf());
        bytes32 top = proofA[0] < proofB[0]
            ? keccak256(abi.encode(proofA[0], proofB[0]))
            : keccak256(abi.encode(proofB[0], proofA[0]));
        Messages.EraRoot memory root = _next(top, 2, 0);
        uint256 id = _post(root);
        vm.expectRevert(Disputes.CanBeTrue.selector);
        net.disputes.refuteTwice(id, root, a, proofA, a, proofA);
        net.disputes.refuteTwice(id, root, a, proofA, b, proofB);
        _eq(net.settlement.rootCount(), 0);
    }

    function test_what_shrinks_or_leaps_refutes_its_root() public {
        bytes32[] memory none = new bytes32[](0);
        uint256[2][4] memory second = [[uint256(4), 5], [uint256(5), 4], [uint256(8), 5], [uint256(5), 8]];
        Messages.Leaf memory before = _leaf(NODE, 0, 5, 5);
        (uint256 beforeId,) = _postOne(before, 5, 5);
        for (uint256 i; i < second.length; ++i) {
            Messages.Leaf memory leaf = _leaf(NODE, 1, second[i][0], second[i][1]);
            (uint256 id, Messages.EraRoot memory root) = _postOne(leaf, 2, 2);
            net.disputes.refuteCourse(beforeId, before, none, id, root, leaf, none);
            _eq(net.settlement.rootCount(), 1);
        }
        Messages.Leaf memory good = _leaf(NODE, 1, 7, 6);
        (uint256 goodId, Messages.EraRoot memory goodRoot) = _postOne(good, 2, 2);
        vm.expectRevert(Disputes.CanBeTrue.selector);
        net.disputes.refuteCourse(beforeId, before, none, goodId, goodRoot, good, none);
        vm.expectRevert(Disputes.NotOfOne.selector);
        net.disputes.refuteCourse(goodId, good, none, goodId, goodRoot, good, none);
    }

    function test_a_sum_of_penalties_that_ended_refutes_nothing() public {
        bytes32[] memory none = new bytes32[](0);
        Messages.Leaf memory before = _leaf(NODE, 0, 0, 5);
        (uint256 beforeId,) = _postOne(before, 0, type(uint96).max);
        Messages.Leaf memory leaf = _leaf(NODE, 1, 0, 6);
        (uint256 id, Messages.EraRoot memory root) = _postOne(leaf, 0, 1);
        vm.expectRevert(Disputes.CanBeTrue.selector);
        net.disputes.refuteCourse(beforeId, before, none, id, root, leaf, none);
    }

    /// @dev Whatever is asked, answered, closed and shown: bonds and stakes are where they are said to be.
    function testFuzz_bonds_and_stakes_add_up(uint8[4] memory steps) public {
        bytes32[] memory shown = new bytes32[](1);
        shown[0] = _receiptDigest;
        Messages.ChallengeRequest memory request = _request();
        Messages.ChallengeReceipt memory receipt = _receipt();
        for (uint256 i; i < steps.length; ++i) {
            // Votes 0 and 4 can be answered for, as they are of the receipt; 8 cannot.
            uint256 vote = uint256(steps[i] >> 4) % 3 * 4;
            bytes32 digest = _digests[vote];
            if (steps[i] & 3 == 0) {
                vm.prank(CHALLENGER);
                try net.disputes.showReceipt(_votes[vote], _signatures[vote], request, receipt, _receiptSignature) {}
                    catch {}
            }
            if (steps[i] & 3 == 1) try net.disputes.answer(digest, _receiptDigest, shown) {} catch {}
            if (steps[i] & 3 == 2) {
                vm.warp(block.timestamp + 2 days);
                try net.disputes.close(digest, _receiptDigest) {} catch {}
            }
            if (steps[i] & 7 == 3) try net.disputes.takeBack(digest, _receiptDigest) {} catch {}
            if (steps[i] == 255) net.disputes.showEquivocation(_votes[0], _signatures[0], _votes[4], _signatures[4]);
        }
        uint256 open;
        for (uint256 v; v < 12; v += 4) {
            (, uint96 bond,,,,,) = net.disputes.questions(_digests[v], _receiptDigest);
            open += bond;
        }
        _eq(icnt.balanceOf(address(net.disputes)), open);
        _eq(icnt.balanceOf(address(net.oracles)), _bondOf(_oracle) + 3 * MIN_BOND + net.oracles.treasuryDue());
    }

    function test_terms_that_cannot_work_are_refused() public {
        for (uint256 i; i < 3; ++i) {
            Disputes.Terms memory terms = net.disputes.terms();
            if (i == 0) terms.bond = 0;
            if (i == 1) terms.rewardBps = 5001;
            if (i == 2) terms.evidenceAge = uint32(UNBONDING);
            vm.expectRevert(Disputes.BadTerms.selector);
            new Disputes(net.settlement, net.oracles, net.eras, icnt, terms);
        }
    }
}
