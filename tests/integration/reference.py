"""The estate's cryptography once more, by another library, for tests that know every key."""
import os

from cryptography.hazmat.primitives import cmac, hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def des_key(key):
    """3DES of a single-length or 2-key key."""
    return algorithms.TripleDES(key * 3 if len(key) == 8 else key + key[:8])


def crypt(cipher, mode, data, decrypt=False):
    worker = Cipher(cipher, mode).decryptor() if decrypt else Cipher(cipher, mode).encryptor()
    return worker.update(data) + worker.finalize()


def des_ecb(key, data, decrypt=False):
    return crypt(des_key(key), modes.ECB(), data, decrypt)


def aes_ecb(key, data, decrypt=False):
    return crypt(algorithms.AES(key), modes.ECB(), data, decrypt)


def aes_cmac(key, data):
    worker = cmac.CMAC(algorithms.AES(key))
    worker.update(data)
    return worker.finalize()


def odd_parity(key):
    return bytes(b & 0xFE | (bin(b >> 1).count("1") + 1) % 2 for b in key)


def diversify_tdes(master, psam_number):
    factor = bytes.fromhex(psam_number[-16:])
    return odd_parity(des_ecb(master, factor + xor(factor, b"\xff" * 8)))


def diversify_aes(master, psam_number, domain, key_bytes):
    tail = bytes([key_bytes, 0, 0, 0]) + bytes.fromhex(psam_number.rjust(20, "0"))
    blocks = [bytes([domain, i]) + tail for i in range(1, key_bytes // 16 + 1)]
    return aes_ecb(master, b"".join(blocks))


def tmk_of(estate, suite, psam_number):
    if suite == "tdes":
        return diversify_tdes(estate.keys["psam-master-tdes"], psam_number)
    return diversify_aes(estate.keys["psam-master-aes-256"], psam_number, 1, 16 if suite == "aes-128" else 32)


CARD_USAGES = {"pik": 0x0D, "mak": 0x06, "tdk": 0x07}


def kek_of(tmk, usage):
    """Wrap version 2: the key of an AES TMK that working keys of a usage ("pik", "mak", "tdk") travel under."""
    tail = bytes([len(tmk), CARD_USAGES[usage]]) + bytes(12)
    return aes_ecb(tmk, b"".join(bytes([3, i]) + tail for i in range(1, len(tmk) // 16 + 1)))


def wrap_version_of(suite):
    """What new cards get."""
    return 1 if suite == "tdes" else 2


def open_working_key(suite, tmk, cryptogram):
    """`tmk`: or its key of the usage."""
    return des_ecb(tmk, cryptogram, decrypt=True) if suite == "tdes" else aes_key_unwrap(tmk, cryptogram)


def kcv(suite, key):
    return des_ecb(key, bytes(8))[:4] if suite == "tdes" else aes_cmac(key, bytes(16))[:4]


def pad1(data, block):
    return data + bytes(-len(data) % block)


def pad2(data, block):
    return pad1(data + b"\x80", block)


def unionpay_mac(key, data):
    total = bytes(8)
    data = pad1(data, 8)
    for at in range(0, len(data), 8):
        total = xor(total, data[at:at + 8])
    text = total.hex().upper().encode()
    step = des_ecb(key, text[:8])
    return des_ecb(key, xor(step, text[8:])).hex().upper().encode()[:8]


def cbc_mac(key, data):
    return crypt(des_key(key), modes.CBC(bytes(8)), data)[-8:]


def alg3_mac(key, data):
    last = cbc_mac(key[:8], data)
    return des_ecb(key[:8], des_ecb(key[8:], last, decrypt=True))


def pin_block_0(pin, pan):
    return xor(bytes.fromhex(f"0{len(pin):X}{pin}".ljust(16, "F")), bytes.fromhex("0000" + pan[-13:-1]))


def pin_block_4(key, pin, pan, fill):
    plain = bytes.fromhex(f"4{len(pin):X}{pin}".ljust(16, "A")) + fill
    number = bytes.fromhex((str(len(pan) - 12) + pan).ljust(32, "0"))
    return aes_ecb(key, xor(aes_ecb(key, plain), number))


def open_pin_block_4(key, block, pan):
    number = bytes.fromhex((str(len(pan) - 12) + pan).ljust(32, "0"))
    plain = aes_ecb(key, xor(aes_ecb(key, block, decrypt=True), number), decrypt=True)
    return plain[:8].hex().upper()


# ---- X9.143 key blocks of versions B (TDES) and D (AES), without optional blocks ----

def block_cmac(version, key, data):
    worker = cmac.CMAC(des_key(key) if version == "B" else algorithms.AES(key))
    worker.update(data)
    return worker.finalize()


def block_keys(version, kbpk):
    """The encryption and the authentication key that a protection key gives."""
    code = {("B", 16): 0, ("D", 16): 2, ("D", 32): 4}[version, len(kbpk)]

    def derive(usage):
        text = b"".join(block_cmac(version, kbpk, bytes([i, 0, usage, 0, 0, code]) + (8 * len(kbpk)).to_bytes(2, "big"))
                        for i in range(1, 5))
        return text[:len(kbpk)]
    return derive(0), derive(1)


def block_cipher(version, key):
    return des_key(key) if version == "B" else algorithms.AES(key)


def make_key_block(version, kbpk, attributes, key):
    """attributes: usage, algorithm, mode of use, key version, exportability, as in "P0TB00N"."""
    size = 8 if version == "B" else 16
    cipher_key, mac_key = block_keys(version, kbpk)
    payload = (8 * len(key)).to_bytes(2, "big") + key
    payload += os.urandom(-len(payload) % size)
    header = f"{version}{16 + 2 * (len(payload) + size):04}{attributes}0000"
    mac = block_cmac(version, mac_key, header.encode() + payload)
    return header + (crypt(block_cipher(version, cipher_key), modes.CBC(mac), payload) + mac).hex().upper()


def open_key_block(kbpk, text):
    version, size = text[0], 8 if text[0] == "B" else 16
    cipher_key, mac_key = block_keys(version, kbpk)
    body = bytes.fromhex(text[16:])
    payload = crypt(block_cipher(version, cipher_key), modes.CBC(body[-size:]), body[:-size], decrypt=True)
    assert block_cmac(version, mac_key, text[:16].encode() + payload) == body[-size:]
    return payload[2:2 + int.from_bytes(payload[:2], "big") // 8]


def rsa_oaep(pem, value):
    sha1 = hashes.SHA1()
    return serialization.load_pem_public_key(pem.encode()).encrypt(
        value, padding.OAEP(mgf=padding.MGF1(algorithm=sha1), algorithm=sha1, label=None))
