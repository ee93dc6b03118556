"""Attacks on whole runs: killed, misconfigured, fed broken images, out of disk, badly tracked."""
