"""A terminal that the test plays against the HSM service alone: working keys by RPC, messages as on the line."""
import posp_estate
import reference as ref
from hsm_estate import hsm, types
from posp_estate import PAN, PIN

KINDS = {"pik": types.KEY_USAGE_PIK, "mak": types.KEY_USAGE_MAK, "tdk": types.KEY_USAGE_TDK}
SUITES = {"tdes": types.SUITE_TDES, "aes-128": types.SUITE_AES_128, "aes-256": types.SUITE_AES_256}
ZONE_SUITES = {"tdes": types.SUITE_TDES, "aes-128": types.SUITE_AES_128, "aes-256": types.SUITE_AES_128}
FORMATS = {"tdes": hsm.PIN_FORMAT_ISO_0, "aes-128": hsm.PIN_FORMAT_ISO_4, "aes-256": hsm.PIN_FORMAT_ISO_4}


class Terminal(posp_estate.Terminal):
    def __init__(self, estate, suite="tdes", psam="62010000001200000001", data=None, x9_19=False, keys=None):
        super().__init__(estate, "T0000001", psam, suite, wrap=1)
        self.data, self.x9_19 = data or estate.data, x9_19
        if keys is None:
            self.renew()
        else:  # that somebody made
            self.keys = {name: getattr(keys, name) for name in KINDS}
            self.blobs = {name: getattr(keys, f"{name}_ref").blob for name in KINDS}

    def renew(self):
        """Sign in again: other keys, another sign-in."""
        made = self.data.GenerateWorkingKeys(hsm.GenerateWorkingKeysRequest(
            psam_number=self.psam, suite=SUITES[self.suite], master_version=1,
            keys=[hsm.WorkingKeySpec(usage=usage, mac_algorithm=hsm.MAC_ALGORITHM_X9_19
                                     if self.x9_19 and usage == types.KEY_USAGE_MAK else 0)
                  for usage in KINDS.values()]), timeout=30)
        self.made = made.keys
        self.blobs = {name: key.blob for name, key in zip(KINDS, made.keys)}
        self.keys = {name: ref.open_working_key(self.suite, self.tmk, key.cryptogram)
                     for name, key in zip(KINDS, made.keys)}

    def mac(self, data):
        return ref.alg3_mac(self.keys["mak"], ref.pad1(data, 8)) if self.x9_19 else super().mac(data)

    def ref(self, name):
        return hsm.KeyRef(blob=self.blobs[name])

    def message(self, mti="0200", change=None, **details):
        """A purchase with its MAC; `change` is called with the fields before."""
        fields = self.purchase_fields(**details)
        if change is not None:
            change(fields)
        return self.seal(fields, mti)

    def request(self, message, pin=True, track=True, zone="bank", blobs=None, to_format=None):
        blobs = blobs or self.blobs
        request = hsm.ProcessTransactionRequest(message=message, psam_number=self.psam,
                                                mac=hsm.TransactionMac(blob=blobs["mak"]))
        if pin:
            to_format = to_format or FORMATS[self.suite]
            suite = types.SUITE_TDES if to_format != hsm.PIN_FORMAT_ISO_4 else types.SUITE_AES_128
            request.pin.CopyFrom(hsm.TransactionPin(blob=blobs["pik"], destination_format=to_format,
                                                    destination=hsm.ZoneKey(zone=zone, suite=suite)))
        if track:
            request.track.CopyFrom(hsm.TransactionTrack(blob=blobs["tdk"]))
        return request

    def process(self, **details):
        """A purchase through ProcessTransaction."""
        return self.data.ProcessTransaction(self.request(self.message(**details)), timeout=30)

    def opened(self, block, to_format=None, pan=PAN):
        """What stands in a block for the zone."""
        if (to_format or FORMATS[self.suite]) == hsm.PIN_FORMAT_ISO_4:
            return ref.open_pin_block_4(self.estate.keys["zone-pin-aes-128"], block, pan)
        return ref.des_ecb(self.estate.keys["zone-pin-tdes"], block, decrypt=True).hex().upper()

    def expected(self, pin=PIN, pan=PAN, to_format=None):
        if (to_format or FORMATS[self.suite]) == hsm.PIN_FORMAT_ISO_4:
            return f"4{len(pin):X}{pin}".ljust(16, "A")
        return ref.pin_block_0(pin, pan).hex().upper()

    def clear_part(self, pan=PAN):
        """The deciphered part of the track that purchase_fields makes."""
        clear = (pan + "D3012101").ljust(37, "1")
        count = 32 if self.aes else 16
        first = len(clear) - (1 if len(clear) % 2 else 2) - count
        return bytes.fromhex(clear[first:first + count])
