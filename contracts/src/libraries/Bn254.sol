// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice A point of BN254's G1; (0, 0) is infinity.
struct G1 {
    uint256 x;
    uint256 y;
}

/// @notice A point of BN254's G2, coordinates with the imaginary part first, as the EIP-197 precompile takes them.
struct G2 {
    uint256 xImaginary;
    uint256 xReal;
    uint256 yImaginary;
    uint256 yReal;
}

/// @title BN254 by the precompiles of EIP-196, EIP-197 and EIP-198, and hashing to G1.
/// @dev The precompiles refuse coordinates that are not reduced, points off the curve, and G2 points outside the subgroup.
library Bn254 {
    uint256 internal constant FIELD = 21888242871839275222246405745257275088696311157297823662689037894645226208583;
    uint256 internal constant ORDER = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    /// @dev Largest multiple of the field below 2^256: hashes above it are passed over, so that x is uniform.
    uint256 private constant FIELD_MULTIPLE = 5 * FIELD;
    uint256 private constant HASH_ATTEMPTS_MAX = 128;

    error Bn254_PrecompileRefused(uint256 precompile);
    error Bn254_NoPoint(bytes32 digest);

    function generator1() internal pure returns (G1 memory) {
        return G1(1, 2);
    }

    /// @dev Minus the generator of G2, so that a pairing product can be compared with one.
    function negatedGenerator2() internal pure returns (G2 memory) {
        return G2(
            11559732032986387107991004021392285783925812861821192530917403151452391805634,
            10857046999023057135944570762232829481370756359578518086990519993285655852781,
            17805874995975841540914202342111839520379459829704422454583296818431106115052,
            13392588948715843804641432497768002650278120570034223513918757245338268106653
        );
    }

    function add(G1 memory a, G1 memory b) internal view returns (G1 memory) {
        (bool done, bytes memory sum) = address(6).staticcall(abi.encode(a, b));
        if (!done) revert Bn254_PrecompileRefused(6);
        return abi.decode(sum, (G1));
    }

    function multiply(G1 memory a, uint256 scalar) internal view returns (G1 memory) {
        (bool done, bytes memory product) = address(7).staticcall(abi.encode(a, scalar));
        if (!done) revert Bn254_PrecompileRefused(7);
        return abi.decode(product, (G1));
    }

    /// @return Whether e(a1, a2) · e(b1, b2) = 1.
    function pairingIsOne(G1 memory a1, G2 memory a2, G1 memory b1, G2 memory b2) internal view returns (bool) {
        (bool done, bytes memory isOne) = address(8).staticcall(abi.encode(a1, a2, b1, b2));
        if (!done) revert Bn254_PrecompileRefused(8);
        return abi.decode(isOne, (bool));
    }

    /// @dev Hashes to G1 by trying x = keccak256(tag ‖ digest ‖ attempt) mod p until x³ + 3 is a square, and takes the even y. G1 has
    /// cofactor one. The number of tries depends on a public message only; each succeeds with probability about 0.47, so all 128
    /// fail with probability below 2^-115.
    function hashToG1(bytes32 tag, bytes32 digest) internal view returns (G1 memory) {
        for (uint8 attempt = 0; attempt < HASH_ATTEMPTS_MAX; ++attempt) {
            uint256 x = uint256(keccak256(abi.encodePacked(tag, digest, attempt)));
            if (x >= FIELD_MULTIPLE) continue;
            x %= FIELD;
            uint256 square = addmod(mulmod(mulmod(x, x, FIELD), x, FIELD), 3, FIELD);
            uint256 y = _power(square, (FIELD + 1) / 4);
            if (mulmod(y, y, FIELD) == square) return G1(x, y % 2 == 0 ? y : FIELD - y);
        }
        revert Bn254_NoPoint(digest);
    }

    function _power(uint256 base, uint256 exponent) private view returns (uint256) {
        (bool done, bytes memory power) =
            address(5).staticcall(abi.encode(uint256(32), uint256(32), uint256(32), base, exponent, FIELD));
        if (!done) revert Bn254_PrecompileRefused(5);
        return abi.decode(power, (uint256));
    }
}
