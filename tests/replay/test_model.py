"""Known answers for the model that predicts the fleet's choice."""

from support import model

KEY = bytes(range(16))


def test_siphash_reference_vectors():
    """SipHash-2-4: the paper's appendix A. SipHash-1-3 and the wide digests: the reference code's."""
    assert model.siphash24(KEY, bytes(range(15))) == 0xA129CA6149BE45E5
    assert model.siphash24(KEY, b"") == 0x726FDB47DD0E0E31
    assert model.siphash24(KEY, bytes(range(63))) == 0x958A324CEB064572
    assert model.siphash13(KEY, b"") == 0xABAC0158050FC4DC
    assert model.siphash13(KEY, bytes(range(15))) == 0xD320D86D2A519956
    first, second = model.siphash24_128(KEY, b"")
    assert (first.to_bytes(8, "little") + second.to_bytes(8, "little")).hex() == "a3817f04ba25a8e66df67214c7550293"


def test_maglev_paper_example():
    """Table 1 of the paper: (offset, skip) = (3,4), (0,2), (3,1) in seven slots."""
    backends = [(3, 4), (0, 2), (3, 1)]
    assert model.fill(7, backends, [1, 1, 1]) == [1, 0, 1, 0, 2, 2, 0]
    assert model.fill(7, [backends[0], backends[2]], [1, 1]) == [0, 0, 0, 0, 1, 1, 1]


def test_quotas_follow_the_weights():
    assert model.quotas(251, [1, 1, 2]) == [63, 63, 125]
    assert sum(model.quotas(65537, [3, 1, 7, 100])) == 65537


def test_flow_key_lengths():
    v4 = model.Flow("198.51.100.1", "203.0.113.10", 40000, 80, "tcp")
    assert v4.key().hex() == "c6336401cb00710a9c40005006"
    v6 = model.Flow("2001:db8:c::1", "2001:db8:f::10", 1, 53, "udp")
    assert len(v6.key()) == 37 and v6.key()[-5:].hex() == "0001003511"


def test_identity_maps_ipv4():
    assert model.identity("10.0.0.5").hex() == "00000000000000000000ffff0a000005"
