# Draws the figures of a cellpose-fiji-bridge run again, and makes its test again, from its tables.
#   Rscript --vanilla figures.R          (needs ggplot2; nothing else)
# Change whatever you like: the tables are read as they are.

library(ggplot2)

arguments <- commandArgs(FALSE)
here <- sub("^--file=", "", grep("^--file=", arguments, value = TRUE))
here <- if (length(here)) dirname(normalizePath(here[1])) else "."
results <- file.path(here, @RESULTS@)
conditions <- @CONDITIONS@
control <- @CONTROL@
measure <- @MEASURE@
title <- @TITLE@
units <- @UNITS@

read <- function(name) {
  read.csv(file.path(results, name), check.names = FALSE, encoding = "UTF-8", stringsAsFactors = FALSE,
           colClasses = c(condition = "character", replicate = "character"))
}
cells <- read(units)
cells <- cells[cells$condition %in% conditions, ]
cells$condition <- factor(cells$condition, levels = conditions)
cells$replicate[cells$replicate == ""] <- "not named"
cells$value <- cells[[measure]]
means <- aggregate(value ~ condition + replicate, cells, mean)

colours <- c("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
colours <- rep(colours, length.out = length(unique(cells$replicate)))
save <- function(figure, name, width = 7, height = 3.6) {
  ggsave(file.path(here, paste0(name, ".png")), figure, width = width, height = height, dpi = 300, bg = "white")
  ggsave(file.path(here, paste0(name, ".pdf")), figure, width = width, height = height, useDingbats = FALSE)
}
plain <- theme_classic(base_size = 9) + theme(axis.text.x = element_text(angle = 30, hjust = 1))

# Every cell, coloured by replicate, with the replicate means on top and mean +- SD of these.
superplot <- ggplot(cells, aes(condition, value, colour = replicate)) +
  geom_point(position = position_jitter(width = 0.25, height = 0, seed = 1), size = 0.5, alpha = 0.4) +
  stat_summary(data = means, aes(group = condition), fun = mean, fun.min = function(x) mean(x) - sd(x),
               fun.max = function(x) mean(x) + sd(x), geom = "errorbar", width = 0.25, colour = "black", na.rm = TRUE) +
  geom_point(data = means, aes(fill = replicate), shape = 21, size = 2.6, colour = "black",
             position = position_dodge(width = 0.4)) +
  scale_colour_manual(values = colours) + scale_fill_manual(values = colours) +
  labs(x = NULL, y = paste(strwrap(title, 40), collapse = "\n")) + plain
save(superplot, "superplot")

shares <- read("shares.csv")
positives <- unique(shares$positive)
for (positive in positives) {
  own <- shares[shares$level == "replicate" & shares$positive == positive & shares$condition %in% conditions, ]
  if (!nrow(own)) next
  own$condition <- factor(own$condition, levels = conditions)
  figure <- ggplot(own, aes(condition, share)) +
    stat_summary(fun = mean, fun.min = mean, fun.max = mean, geom = "crossbar", width = 0.5, linewidth = 0.3) +
    geom_point(aes(colour = replicate), size = 2, position = position_jitter(width = 0.1, height = 0, seed = 1)) +
    scale_colour_manual(values = colours) + expand_limits(y = 0) +
    labs(x = NULL, y = paste0(positive, "-positive (%)")) + plain
  save(figure, paste0("share_", gsub("[^A-Za-z0-9]+", "_", positive)))

  # The same test as in comparisons.csv: logits of the replicates' shares, replicates as blocks, Holm.
  if (is.na(control) || !(control %in% own$condition)) next
  own <- own[own$replicate != "" & own$condition %in% @TESTED@, ]
  if (length(unique(own$replicate)) < 3 || length(unique(own$condition)) < 2) next
  n_positive <- own$share / 100 * own$n_units
  own$logit <- log((n_positive + 0.5) / (own$n_units - n_positive + 0.5))
  own$condition <- relevel(factor(as.character(own$condition)), ref = control)
  fit <- summary(lm(logit ~ replicate + condition, own))$coefficients
  fit <- fit[grep("^condition", rownames(fit)), , drop = FALSE]
  p <- fit[, "Pr(>|t|)"]
  found <- data.frame(condition = sub("^condition", "", rownames(fit)), p = p, p_holm = p.adjust(p, "holm"))
  cat(positive, "-positive, against ", control, ":\n", sep = "")
  print(found, row.names = FALSE, digits = 12)
}
