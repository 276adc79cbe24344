// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { TimelockController } from "@openzeppelin/contracts/governance/TimelockController.sol";
import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { Governed } from "./Governed.sol";
import { DataStatement } from "./Types.sol";
import { IDataCommittee } from "./interfaces/IDataCommittee.sol";
import { G1, G2 } from "./libraries/Bn254.sol";
import { BlsCertificate, Certificates, EcdsaCertificate } from "./libraries/Certificates.sol";
import { Encodings } from "./libraries/Encodings.sol";
import { LocalChains } from "./libraries/LocalChains.sol";

/// @title Who holds batch data, and what counts as their word that they do.
/// @notice `honest` of the N members are assumed honest; N + 1 − honest must sign, so that at least one honest member did. Members bring
/// their keys and stake themselves, each key with proof that they have it; governance says which members form a keyset. Every
/// keyset stays on record by its hash. Trusts governance with the choice of members, and one honest member per quorum with the data.
contract DataCommittee is IDataCommittee, Governed {
    struct Member {
        address signer; // ECDSA key; zero for a stranger
        uint64 seats; // keysets in force that name this member
        uint64 leftAt; // when the last of them ended
        uint256 stake; // wei
        G1 blsKey; // infinity if it has none
    }

    struct Keyset {
        uint8 scheme;
        uint32 quorum;
        uint32 size;
        uint64 activeFrom;
        uint64 activeUntil; // zero while it is in force
    }

    /// @notice Fewest members of a keyset where money is at stake.
    uint256 public constant MEMBERS_MIN = 5;
    bytes32 private constant POSSESSION_TAG = keccak256("Joule ECDSA possession v1");

    /// @notice A certificate must outlive the moment of its use by this many seconds.
    uint64 public immutable remainingMin;
    /// @notice Wei a member must have at stake to be named in a keyset.
    uint256 public immutable stakeMin;
    /// @notice Seconds between leaving the last keyset and taking the stake back. No certificate lives longer after its use, and a retired keyset's is
    /// not taken any more: the stake of whoever signed one stays until it has expired.
    uint64 public immutable stakeLock;

    mapping(address member => Member) private _members;
    /// @notice Whose key this is; a key belongs to one member for good.
    mapping(bytes32 keyHash => address) public keyOwner;
    /// @notice All keysets there ever were.
    mapping(bytes32 keysetHash => Keyset) public keysets;
    /// @notice The keyset in force for each scheme; zero if there is none.
    mapping(uint8 scheme => bytes32) public currentKeyset;
    mapping(uint8 scheme => address[]) private _seated;

    event MemberRegistered(address indexed member, address indexed signer);
    event BlsKeyRegistered(address indexed member, G1 key, G2 key2);
    event StakeAdded(address indexed member, uint256 amount, uint256 stake);
    event StakeWithdrawn(address indexed member, uint256 amount);
    event KeysetActivated(uint8 indexed scheme, bytes32 indexed keysetHash, uint32 quorum, address[] members);
    event KeysetRetired(uint8 indexed scheme, bytes32 indexed keysetHash);

    error DataCommittee_UnknownScheme(uint8 scheme);
    error DataCommittee_UnknownKeyset(bytes32 keysetHash);
    error DataCommittee_RetiredKeyset(bytes32 keysetHash, uint64 activeUntil);
    error DataCommittee_ExpiresTooSoon(uint256 expiryMin, uint64 actual);
    error DataCommittee_OutlivesStake(uint256 expiryMax, uint64 actual);
    error DataCommittee_StakeLockTooShort(uint64 secondsMin, uint64 actual);
    error DataCommittee_NotAMember(address member);
    error DataCommittee_AlreadyRegistered(address member);
    error DataCommittee_KeyTaken(address owner);
    error DataCommittee_NotTheKey(address expected, address actual);
    error DataCommittee_KeyIsZero();
    error DataCommittee_TooFewMembers(uint256 expected, uint256 actual);
    error DataCommittee_TooManyMembers(uint256 expected, uint256 actual);
    error DataCommittee_HonestOutOfRange(uint256 members, uint32 honest);
    error DataCommittee_OutOfOrder(address previous, address member);
    error DataCommittee_NoBlsKey(address member);
    error DataCommittee_StakeTooLow(uint256 expected, uint256 actual);
    error DataCommittee_StakeLocked(uint256 until, uint256 timestamp);
    error DataCommittee_StillSeated(address member, uint64 seats);
    error DataCommittee_TransferFailed(address to, uint256 amount);

    /// @param signers The first ECDSA keyset, strictly increasing, each its own member and without stake; empty where members are to register
    /// first and data goes to L1 until governance has named them.
    /// @param honest How many of them are assumed honest.
    constructor(
        TimelockController governance_,
        uint64 upgradeDelayMin_,
        uint64 remainingMin_,
        uint64 stakeLock_,
        uint256 stakeMin_,
        address[] memory signers,
        uint32 honest
    ) Governed(governance_, upgradeDelayMin_) {
        // No certificate could fulfil both.
        if (stakeLock_ < remainingMin_) revert DataCommittee_StakeLockTooShort(remainingMin_, stakeLock_);
        remainingMin = remainingMin_;
        stakeLock = stakeLock_;
        stakeMin = stakeMin_;
        if (signers.length == 0) return;
        for (uint256 i = 0; i < signers.length; ++i) {
            _register(signers[i], signers[i]);
        }
        uint32 quorum = _quorum(signers.length, honest);
        _activate(Certificates.SCHEME_ECDSA, _ecdsaKeyset(signers, quorum), quorum, signers);
    }

    // ------------------------------------------------------------------------------------------------- certificates

    /// @inheritdoc IDataCommittee
    function requireCertified(DataStatement calldata statement, bytes calldata certificate) external view {
        uint8 scheme = certificate.length == 0 ? 0 : uint8(certificate[0]);
        if (scheme == Certificates.SCHEME_ECDSA) {
            EcdsaCertificate memory ecdsa = abi.decode(certificate[1:], (EcdsaCertificate));
            bytes32 keysetHash = Certificates.keysetHash(ecdsa.quorum, ecdsa.keyset);
            Certificates.requireSigned(_checkedDigest(statement, ecdsa.expiry, keysetHash), ecdsa);
        } else if (scheme == Certificates.SCHEME_BLS) {
            BlsCertificate memory bls = abi.decode(certificate[1:], (BlsCertificate));
            bytes32 keysetHash = Certificates.keysetHash(bls.quorum, bls.keyset);
            Certificates.requireSigned(_checkedDigest(statement, bls.expiry, keysetHash), bls);
        } else {
            revert DataCommittee_UnknownScheme(scheme);
        }
    }

    // ------------------------------------------------------------------------------------------------------ members

    /// @notice Joins as a member under an ECDSA key, with any stake sent along. A member of no keyset has no say.
    /// @param possession The key's signature over `possessionDigest(msg.sender)`: nobody takes another's key.
    function register(address signer, bytes calldata possession) external payable {
        address actual = ECDSA.recover(possessionDigest(msg.sender), possession);
        if (actual != signer) revert DataCommittee_NotTheKey(signer, actual);
        _register(msg.sender, signer);
        if (msg.value != 0) _addStake(msg.sender, msg.value);
    }

    /// @notice Adds a BLS key to the caller's membership.
    /// @param possession The key's signature over `blsPossessionDigest(msg.sender, key)` under the possession tag.
    function registerBlsKey(G1 calldata key, G2 calldata key2, G1 calldata possession) external {
        Member storage member = _known(msg.sender);
        if (member.blsKey.x != 0 || member.blsKey.y != 0) revert DataCommittee_AlreadyRegistered(msg.sender);
        Certificates.requirePossession(msg.sender, key, key2, possession);
        _take(keccak256(abi.encode(key)), msg.sender);
        member.blsKey = key;
        emit BlsKeyRegistered(msg.sender, key, key2);
    }

    /// @notice Adds to the caller's stake.
    function addStake() external payable {
        _known(msg.sender);
        _addStake(msg.sender, msg.value);
    }

    /// @notice Takes the stake back, `stakeLock` after the last keyset that named the caller ended.
    function withdrawStake() external {
        Member storage member = _known(msg.sender);
        if (member.seats != 0) revert DataCommittee_StillSeated(msg.sender, member.seats);
        uint256 until = uint256(member.leftAt) + stakeLock;
        if (member.leftAt != 0 && block.timestamp <= until) revert DataCommittee_StakeLocked(until, block.timestamp);
        uint256 amount = member.stake;
        member.stake = 0;
        emit StakeWithdrawn(msg.sender, amount);
        (bool sent,) = msg.sender.call{ value: amount }("");
        if (!sent) revert DataCommittee_TransferFailed(msg.sender, amount);
    }

    // --------------------------------------------------------------------------------------------------- governance

    /// @notice Puts a keyset in force, in the place of the scheme's present one.
    /// @param members For ECDSA by strictly increasing signer, for BLS by strictly increasing member; none retires the scheme.
    /// @param honest How many are assumed honest; N + 1 − honest must sign.
    function setKeyset(uint8 scheme, address[] calldata members, uint32 honest) external onlyGovernance {
        if (scheme != Certificates.SCHEME_ECDSA && scheme != Certificates.SCHEME_BLS) {
            revert DataCommittee_UnknownScheme(scheme);
        }
        _retire(scheme);
        if (members.length == 0) return;
        for (uint256 i = 0; i < members.length; ++i) {
            uint256 stake = _known(members[i]).stake;
            if (stake < stakeMin) revert DataCommittee_StakeTooLow(stakeMin, stake);
        }
        uint32 quorum = _quorum(members.length, honest);
        bytes32 keysetHash =
            scheme == Certificates.SCHEME_ECDSA ? _ecdsaKeyset(members, quorum) : _blsKeyset(members, quorum);
        _activate(scheme, keysetHash, quorum, members);
    }

    // -------------------------------------------------------------------------------------------------------- views

    /// @notice What is on record of a member.
    function memberOf(address member) external view returns (Member memory) {
        return _members[member];
    }

    /// @notice Members of the keyset in force, in its order.
    function seated(uint8 scheme) external view returns (address[] memory) {
        return _seated[scheme];
    }

    /// @notice What an ECDSA key signs to show that `member` has it.
    function possessionDigest(address member) public view returns (bytes32) {
        return keccak256(abi.encode(POSSESSION_TAG, block.chainid, address(this), member));
    }

    /// @notice What a BLS key signs (hashed to the curve under the possession tag) to show that `member` has it.
    function blsPossessionDigest(address member, G1 calldata key) external view returns (bytes32) {
        return Certificates.possessionDigest(member, key);
    }

    // ----------------------------------------------------------------------------------------------------- internal

    /// @dev The caller is the rollup that the certificate must name: another rollup's certificates say nothing to this one.
    function _checkedDigest(DataStatement calldata statement, uint64 expiry, bytes32 keysetHash)
        private
        view
        returns (bytes32)
    {
        Keyset memory keyset = keysets[keysetHash];
        if (keyset.activeFrom == 0) revert DataCommittee_UnknownKeyset(keysetHash);
        if (keyset.activeUntil != 0) revert DataCommittee_RetiredKeyset(keysetHash, keyset.activeUntil);
        uint256 expiryMin = block.timestamp + remainingMin;
        if (expiry < expiryMin) revert DataCommittee_ExpiresTooSoon(expiryMin, expiry);
        uint256 expiryMax = block.timestamp + stakeLock;
        if (expiry > expiryMax) revert DataCommittee_OutlivesStake(expiryMax, expiry);
        return Encodings.certificateDigest(statement, msg.sender, expiry, keysetHash);
    }

    function _known(address member) private view returns (Member storage found) {
        found = _members[member];
        if (found.signer == address(0)) revert DataCommittee_NotAMember(member);
    }

    function _register(address member, address signer) private {
        if (signer == address(0)) revert DataCommittee_KeyIsZero();
        if (_members[member].signer != address(0)) revert DataCommittee_AlreadyRegistered(member);
        _take(keccak256(abi.encode(signer)), member);
        _members[member].signer = signer;
        emit MemberRegistered(member, signer);
    }

    function _take(bytes32 keyHash, address member) private {
        if (keyOwner[keyHash] != address(0)) revert DataCommittee_KeyTaken(keyOwner[keyHash]);
        keyOwner[keyHash] = member;
    }

    function _addStake(address member, uint256 amount) private {
        uint256 stake = _members[member].stake + amount;
        _members[member].stake = stake;
        emit StakeAdded(member, amount, stake);
    }

    function _quorum(uint256 size, uint32 honest) private view returns (uint32) {
        if (size > Certificates.MEMBERS_MAX) {
            revert DataCommittee_TooManyMembers(Certificates.MEMBERS_MAX, size);
        }
        if (size < MEMBERS_MIN && !LocalChains.isLocal()) revert DataCommittee_TooFewMembers(MEMBERS_MIN, size);
        if (honest == 0 || honest > size) revert DataCommittee_HonestOutOfRange(size, honest);
        return uint32(size) + 1 - honest;
    }

    function _ecdsaKeyset(address[] memory members, uint32 quorum) private view returns (bytes32) {
        address[] memory keyset = new address[](members.length);
        for (uint256 i = 0; i < members.length; ++i) {
            keyset[i] = _members[members[i]].signer;
            if (i != 0 && keyset[i] <= keyset[i - 1]) revert DataCommittee_OutOfOrder(keyset[i - 1], keyset[i]);
        }
        return Certificates.keysetHash(quorum, keyset);
    }

    function _blsKeyset(address[] memory members, uint32 quorum) private view returns (bytes32) {
        G1[] memory keyset = new G1[](members.length);
        for (uint256 i = 0; i < members.length; ++i) {
            if (i != 0 && members[i] <= members[i - 1]) revert DataCommittee_OutOfOrder(members[i - 1], members[i]);
            keyset[i] = _members[members[i]].blsKey;
            if (keyset[i].x == 0 && keyset[i].y == 0) revert DataCommittee_NoBlsKey(members[i]);
        }
        return Certificates.keysetHash(quorum, keyset);
    }

    function _activate(uint8 scheme, bytes32 keysetHash, uint32 quorum, address[] memory members) private {
        // A keyset that comes back keeps the time it was first in force; the events tell the rest.
        uint64 activeFrom = keysets[keysetHash].activeFrom;
        if (activeFrom == 0) activeFrom = uint64(block.timestamp);
        keysets[keysetHash] = Keyset(scheme, quorum, uint32(members.length), activeFrom, 0);
        currentKeyset[scheme] = keysetHash;
        _seated[scheme] = members;
        for (uint256 i = 0; i < members.length; ++i) {
            ++_members[members[i]].seats;
        }
        emit KeysetActivated(scheme, keysetHash, quorum, members);
    }

    function _retire(uint8 scheme) private {
        bytes32 keysetHash = currentKeyset[scheme];
        if (keysetHash == 0) return;
        address[] memory members = _seated[scheme];
        for (uint256 i = 0; i < members.length; ++i) {
            Member storage member = _members[members[i]];
            --member.seats;
            member.leftAt = uint64(block.timestamp);
        }
        keysets[keysetHash].activeUntil = uint64(block.timestamp);
        delete currentKeyset[scheme];
        delete _seated[scheme];
        emit KeysetRetired(scheme, keysetHash);
    }
}
