"""Numbers that judge a model, a message and a reconstruction. Only here may the truth be looked at."""

from labsec.metrics.evaluation import accuracy, accuracy_by_class, evaluate, label_share
from labsec.metrics.genomes import base_accuracy, genotype_accuracy, rare_allele_recall
from labsec.metrics.matching import assigned, best_matches, reidentified
from labsec.metrics.pictures import PSNR_CAP, psnr, ssim
from labsec.metrics.success import success_beyond, success_share
from labsec.metrics.tables import category_accuracy
from labsec.metrics.texts import exact_order, placed_tokens, token_recall

__all__ = [
    "PSNR_CAP",
    "accuracy",
    "accuracy_by_class",
    "assigned",
    "base_accuracy",
    "best_matches",
    "category_accuracy",
    "evaluate",
    "exact_order",
    "genotype_accuracy",
    "label_share",
    "placed_tokens",
    "psnr",
    "rare_allele_recall",
    "reidentified",
    "ssim",
    "success_beyond",
    "success_share",
    "token_recall",
]
