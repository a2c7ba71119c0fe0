"""What a class needs: exercises read from the chapters, notebooks for students and teachers, answers that check themselves."""

from eegfmri.classroom.checks import Checks, Verdict

__all__ = ["Checks", "Verdict"]
