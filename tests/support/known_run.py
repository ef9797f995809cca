"""What a run of the whole system does: every RPC of the data plane, cards, sign-ins and purchases, in phases that
differ in what the token has to show. Each phase leaves its secrets with the system."""
import os

import proven
import reference as ref
from hsm_estate import hsm, types
from known_system import RPC_PSAM
from posp_estate import PAN, POOR_PAN

PIK, MAK, TDK = types.KEY_USAGE_PIK, types.KEY_USAGE_MAK, types.KEY_USAGE_TDK
SUITES = {"tdes": types.SUITE_TDES, "aes-128": types.SUITE_AES_128, "aes-256": types.SUITE_AES_256}
TDES_MACS = [hsm.MAC_ALGORITHM_UNIONPAY_ECB, hsm.MAC_ALGORITHM_X9_19, hsm.MAC_ALGORITHM_ISO9797_1_ALG1_PAD1,
             hsm.MAC_ALGORITHM_ISO9797_1_ALG1_PAD2, hsm.MAC_ALGORITHM_ISO9797_1_ALG3_PAD2]
SHORT_MACS = [hsm.MAC_ALGORITHM_X9_9, hsm.MAC_ALGORITHM_UNIONPAY_ECB]
AES_MACS = [hsm.MAC_ALGORITHM_AES_CMAC]
ISO = {0: hsm.PIN_FORMAT_ISO_0, 1: hsm.PIN_FORMAT_ISO_1, 3: hsm.PIN_FORMAT_ISO_3, 4: hsm.PIN_FORMAT_ISO_4}
LAYOUTS = {"tdes": ("003", "004", "005"), "aes-128": ("001", "003", "004", "005"), "aes-256": ("004",)}


class Keys:
    """Working keys as the data plane makes them: references, and the clear values."""

    def __init__(self, system, suite, mak_bytes=16, mac=hsm.MAC_ALGORITHM_UNSPECIFIED, wrap=None):
        self.suite, self.family = suite, "tdes" if suite == "tdes" else "aes"
        self.wrap = wrap or ref.wrap_version_of(suite)
        self.request = hsm.GenerateWorkingKeysRequest(
            psam_number=RPC_PSAM, suite=SUITES[suite], master_version=1, wrap_version=self.wrap,
            keys=[hsm.WorkingKeySpec(usage=PIK), hsm.WorkingKeySpec(usage=MAK, key_bytes=mak_bytes, mac_algorithm=mac),
                  hsm.WorkingKeySpec(usage=TDK)])
        self.take(system, system.data.GenerateWorkingKeys(self.request))

    def take(self, system, answer):
        tmk = ref.tmk_of(system, self.suite, RPC_PSAM)
        keks = [ref.kek_of(tmk, usage) if self.wrap == 2 else tmk for usage in ("pik", "mak", "tdk")]
        clear = [ref.open_working_key(self.family, kek, key.cryptogram) for kek, key in zip(keks, answer.keys)]
        for key, value in zip(answer.keys, clear):
            assert ref.kcv(self.family, value) == key.kcv
            system.never_logged.opaque("blob", "a working key's blob", key.blob[-32:])
        self.pik, self.mak, self.tdk = clear
        self.pik_ref, self.mak_ref, self.tdk_ref = (hsm.KeyRef(blob=key.blob) for key in answer.keys)
        system.know_working(self.suite, {"pik": self.pik, "mak": self.mak, "tdk": self.tdk})


def zone(suite):
    return hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=SUITES[suite]))


def batch(system, items):
    answer = system.data.ProcessBatch(hsm.ProcessBatchRequest(items=items))
    assert all(result.status == 0 for result in answer.results), answer
    return answer.results


# ---- phase 1: nothing may be seen on any token ----

def cards_and_keys(system):
    for number, suite, wrap in ((1, "tdes", None), (2, "aes-128", None), (3, "aes-256", None), (4, "aes-128", 1)):
        card = system.issue(number, suite, wrap=wrap)
        for layout in ("double", "track", "slots") if suite == "tdes" else ("slots",):
            system.at_terminal(card, "signin", "--keys", layout)
        system.at_terminal(card, "purchase", "--amount", "700")
        system.data.DiversifyCardKey(hsm.DiversifyCardKeyRequest(
            psam_number=RPC_PSAM, suite=SUITES[suite], profile=hsm.CARD_PROFILE_AES, challenge=os.urandom(8),
            wrap_version=card.wrap))
    for number, suite, wrap in ((11, "tdes", None), (12, "aes-128", None), (13, "aes-256", None), (14, "aes-256", 1)):
        terminal = system.terminal_of(number, suite, wrap)
        for layout in LAYOUTS[suite]:
            assert terminal.sign_in(layout)[39] == "00"
            assert terminal.purchase(pin=None)[39] == "00"


def macs_and_data(system):
    for suite, mak_bytes, algorithms in (("tdes", 16, TDES_MACS), ("tdes", 8, SHORT_MACS), ("aes-128", 16, AES_MACS),
                                         ("aes-256", 16, AES_MACS)):
        zoned = [zone("tdes" if suite == "tdes" else "aes-128")] if mak_bytes == 16 else []
        for algorithm in algorithms:  # a MAK serves one, a zone's key all
            keys = Keys(system, suite, mak_bytes, algorithm)
            for key in [keys.mak_ref] + zoned:
                made = hsm.GenerateMacRequest(key=key, algorithm=algorithm, data=os.urandom(45))
                mac = system.data.GenerateMac(made).mac
                check = hsm.VerifyMacRequest(key=key, algorithm=algorithm, data=made.data, mac=mac)
                assert system.data.VerifyMac(check).matches
                batch(system, [hsm.BatchItem(generate_mac=made), hsm.BatchItem(verify_mac=check)])
        for key in [keys.tdk_ref] + zoned:
            data_both_ways(system, key, 8 if suite == "tdes" else 16)
        generated = batch(system, [hsm.BatchItem(generate_working_keys=keys.request)] * 4)
        for result in generated:
            keys.take(system, result.generate_working_keys)
    assert system.data.Echo(hsm.EchoRequest(payload=b"echo")).payload == b"echo"


def data_both_ways(system, key, block):
    for mode in (hsm.CIPHER_MODE_ECB, hsm.CIPHER_MODE_CBC):
        clear = hsm.EncryptDataRequest(key=key, mode=mode, iv=os.urandom(block) if mode == hsm.CIPHER_MODE_CBC else b"",
                                       data=os.urandom(96))
        sent = hsm.DecryptDataRequest(key=key, mode=mode, iv=clear.iv, data=system.data.EncryptData(clear).data)
        assert system.data.DecryptData(sent).data == clear.data
        batch(system, [hsm.BatchItem(encrypt_data=clear), hsm.BatchItem(decrypt_data=sent)])


def resealing(system):
    """Blobs move to a new storage key, and work before and after. Control's RPCs, for the whole set."""
    kept = [(suite, Keys(system, suite)) for suite in SUITES]
    system.new_storage_key(2)
    for suite, keys in kept:
        refs = (keys.pik_ref, keys.mak_ref, keys.tdk_ref)
        data_both_ways(system, keys.tdk_ref, 8 if suite == "tdes" else 16)
        answer = system.data.ResealBlobs(hsm.ResealBlobsRequest(blobs=[ref_.blob for ref_ in refs]), timeout=30)
        # SoftHSM's storage keys open nothing that could be wrapped again: blobs are not moved there, but made anew.
        moved = system.token == "nss"
        assert all((r.status, r.changed) == ((0, True) if moved else (12, False)) for r in answer.results), answer
        if not moved:
            continue
        assert all(r.storage_version == 2 for r in answer.results), answer
        for result in answer.results:
            system.never_logged.opaque("blob", "a blob that moved", result.blob[-32:])
        data_both_ways(system, hsm.KeyRef(blob=answer.results[2].blob), 8 if suite == "tdes" else 16)
        again = system.data.ResealBlobs(hsm.ResealBlobsRequest(blobs=[r.blob for r in answer.results]), timeout=30)
        assert not any(r.status or r.changed for r in again.results), again
    assert system.control.GetTokenReport(hsm.GetTokenReportRequest()).ways
    assert system.control.GetStatus(hsm.GetStatusRequest()).keepers


# ---- phase 2: PINs that keep their format ----

def pin_block(iso, key, pin, pan):
    if iso == 4:
        return ref.pin_block_4(key, pin, pan, os.urandom(8))
    if iso == 0:
        return ref.des_ecb(key, ref.pin_block_0(pin, pan))
    field = bytes.fromhex(f"{iso}C{pin}" + ("AF" if iso == 3 else "51"))
    return ref.des_ecb(key, ref.xor(field, bytes.fromhex("0000" + pan[-13:-1])) if iso == 3 else field)


def translation(system, keys, iso, to=None, to_suite=None):
    block = pin_block(iso, keys.pik, system.pins[PAN], PAN)
    system.never_logged.opaque("enciphered-pin", f"RPC format {iso}", block)
    return hsm.TranslatePinRequest(source=keys.pik_ref, pan=PAN, source_format=ISO[iso], block=block,
                                   destination=zone(to_suite or ("tdes" if iso != 4 else "aes-128")),
                                   destination_format=ISO[iso if to is None else to])


def translate(system, request, *wholes):
    """Each of the RPCs that translate a PIN; `wholes` are the same as transactions."""
    for block in (system.data.TranslatePin(request).block,
                  *[system.data.ProcessTransaction(whole).pin.block for whole in wholes],
                  *[result.translate_pin.block or result.process_transaction.pin.block for result in batch(
                      system, [hsm.BatchItem(translate_pin=request),
                               *[hsm.BatchItem(process_transaction=whole) for whole in wholes]])]):
        assert block
        system.never_logged.opaque("enciphered-pin", "to the zone", block)


def transactions(system, keys, to=None):
    """A purchase with the PIN block and the track under these keys, to its own format or another one."""
    terminal = proven.Terminal(system, keys.suite, RPC_PSAM, keys=keys)
    message = terminal.message(pan=PAN, pin=system.pins[PAN])
    system.never_logged.opaque("enciphered-pin", "message", message)
    return [terminal.request(message, to_format=to and ISO[to])]


def pins(system):
    tdes, aes = Keys(system, "tdes"), Keys(system, "aes-256")
    for keys, iso in ((tdes, 0), (tdes, 1), (tdes, 3), (aes, 4)):
        translate(system, translation(system, keys, iso), *(transactions(system, keys) if iso in (0, 4) else ()))
    for card in system.cards[:3]:
        system.at_terminal(card, "purchase", "--amount", "900", "--pan", PAN, "--pin", system.pins[PAN])
    for number, suite in ((21, "tdes"), (22, "aes-128"), (23, "aes-256")):
        terminal = system.terminal_of(number, suite)
        for layout in LAYOUTS[suite]:
            assert terminal.sign_in(layout)[39] == "00"
            assert terminal.purchase()[39] == "00"
        assert terminal.purchase(pan=POOR_PAN, amount=500)[39] == "51"
        assert terminal.purchase(pin=system.pins[POOR_PAN])[39] == "55"


# ---- phase 3: the published card profile ----

def pboc(system):
    card = system.issue(31, "tdes", "pboc")
    system.at_terminal(card, "signin", "--keys", "track")
    number = RPC_PSAM[:-1] + "2"
    system.know_card("tdes", number, "tmk-pboc")
    system.data.DiversifyCardKey(hsm.DiversifyCardKeyRequest(
        psam_number=number, suite=SUITES["tdes"], profile=hsm.CARD_PROFILE_PBOC, challenge=os.urandom(4)))


# ---- phase 4: PINs that change their format ----

def pin_formats(system):
    tdes, aes = Keys(system, "tdes"), Keys(system, "aes-128")
    for keys, iso, to, suite in ((tdes, 0, 3, "tdes"), (tdes, 3, 0, "tdes"), (tdes, 0, 4, "aes-128"), (aes, 4, 0, "tdes"),
                                 (aes, 4, 3, "tdes")):
        whole = transactions(system, keys, to) if iso != 3 else ()
        translate(system, translation(system, keys, iso, to, suite), *whole)
