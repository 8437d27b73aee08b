"""Label image against label image: partners, scores, COCO annotations."""
