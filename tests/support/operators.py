"""Two operators and an auditor of a secure Estate, each with a certificate: what one proposes, another agrees to."""
import json
import os
import re
import subprocess

from estate import BIN

ONE, TWO, AUDITOR = "posward", "operator2", "auditor"


class Operators:
    """What has self.estate, an Estate(secure=True), talks to it as any of them; for a test case, or for an estate itself."""
    cli_seconds = 180
    cli_environment = {**os.environ,
                       "LSAN_OPTIONS": f"suppressions={os.path.dirname(os.path.abspath(__file__))}/lsan-cli.supp:print_suppressions=0"}

    def cli(self, who, *words, fails=None):
        """The answer; or, where it must fail, what it said, which the pattern `fails` is found in."""
        done = subprocess.run([f"{BIN}/posward", "--config", f"{self.estate.dir}/{who}.yaml", "--json", *words],
                              capture_output=True, text=True, timeout=self.cli_seconds, check=False,
                              env=self.cli_environment)
        if fails is not None:
            assert done.returncode != 0, (words, done.stdout)
            assert re.search(fails, done.stderr), (words, fails, done.stderr)
            return done.stderr
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def propose(self, *words, who=ONE, fails=None):
        return self.cli(who, "key", *words, "--reason", "a test", fails=fails)

    def approve(self, made):
        done = self.cli(TWO, "key", "approve", made["id"])
        assert done["state"] == "PROPOSAL_STATE_EXECUTED", done
        return done

    def agree(self, *words):
        return self.approve(self.propose(*words))
