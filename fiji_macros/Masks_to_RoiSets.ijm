// Masks to ROI sets
//
// Makes the ROI set of a label image: one ROI per label along its pixel edges, also with holes and several parts.
// Pixel for pixel the same as "cellpose-fiji rois" makes; no Python is needed.
//
// Input   a label image (0 is background, each cell has a number of its own; 8, 16 or 32 bit), or a folder: then every
//         ..._mask.tif, ..._masks.tif and ..._cp_masks.tif in it and its subfolders.
// Output  in the window: NAME_RoiSet.zip; ROIs are named by their label (00001, 00002, ...).
//         headless: a folder NAME_RoiSet with one .roi file per label (the ROI Manager does not work headless).
//         Existing results are not overwritten.
//
// In the window  choose it from the menu, or run it with the arguments below.
// Headless       ImageJ --headless -macro Masks_to_RoiSets.ijm "masks=[/path/masks] out=[/path/rois]"
//                It returns "OK: ..." or "Error: ...".
// In a macro     run("Masks to RoiSets", "masks=[/path/masks] out=[/path/rois]"), as the Recorder writes it

var args = "";
var returns = false;
var headless = false;

args = getArgument();
// Fiji shows what a macro returns in a window: only who gives arguments gets an answer.
if (args != "") returns = true;
// run("Masks to RoiSets", "...") hands its options over in another way than runMacro(file, "...").
options = "" + call("ij.Macro.getOptions");
if (args == "" && indexOf(options, "=") > 0) args = options;
if (call("java.awt.GraphicsEnvironment.isHeadless") == "true") headless = true;
if (args == "") {
	Dialog.create("Masks to ROI sets");
	Dialog.addMessage("One exact ROI per label of each label image (_mask.tif)");
	Dialog.addDirectory("Masks (folder of label images)", call("ij.Prefs.get", "cellposefiji.masks", ""));
	Dialog.addDirectory("Out (folder for the ROI sets)", call("ij.Prefs.get", "cellposefiji.rois", ""));
	Dialog.show();
	masks = Dialog.getString();
	out = Dialog.getString();
	call("ij.Prefs.set", "cellposefiji.masks", masks);
	call("ij.Prefs.set", "cellposefiji.rois", out);
} else {
	masks = option("masks", "");
	out = option("out", "");
}
if (masks == "") return "" + stop("masks: nothing named (expected a label image or a folder of them). Name one.");
if (out == "") return "" + stop("out: nothing named (expected the folder for the ROI sets). Name one.");
if (!File.exists(masks)) return "" + stop(masks + ": no such file or folder (expected a label image or a folder of them). Check the path.");

if (File.isDirectory(masks)) {
	root = folder(masks);
	files = maskFiles(root, "");
	if (files.length == 0) return "" + stop(masks + ": no label images in it (expected ..._mask.tif, ..._masks.tif or ..._cp_masks.tif). Check the folder.");
} else {
	root = folder(File.getParent(masks));
	files = newArray(1);
	files[0] = File.getName(masks);
}

// Everything that can be refused is refused before anything is written.
for (i = 0; i < files.length; i++) {
	target = targetOf(folder(out), files[i]);
	if (File.exists(target)) return "" + stop(target + ": is there already. It is not overwritten: move it elsewhere, or name another folder.");
	for (j = 0; j < i; j++) {
		other = targetOf(folder(out), files[j]);
		if (other == target) return "" + stop("" + files[i] + ": would get the same ROI set as " + files[j] + " (expected names of their own). Move one elsewhere.");
	}
}
if (!headless) {
	if (roiManager("count") > 0) {
		if (args == "") showMessageWithCancel("Masks to ROI sets", "The ROI Manager holds " + roiManager("count") + " ROIs. They are removed from it.");
		roiManager("reset");
	}
}
setBatchMode(true);
total = 0;
for (i = 0; i < files.length; i++) {
	showStatus("ROI set " + (i + 1) + " of " + files.length);
	said = makeRoiSet(root + files[i], targetOf(folder(out), files[i]));
	if (startsWith(said, "Error: ")) return "" + stop(substring(said, 7));
	total = total + parseInt(said);
}
setBatchMode(false);
said = "OK: " + files.length + " ROI sets, " + total + " ROIs in " + out;
showStatus(said);
if (returns) return said;


// Makes one ROI set; returns the number of ROIs, or "Error: ...".
function makeRoiSet(path, target) {
	before = nImages;
	open(path);
	if (nImages == before) return "Error: " + path + ": could not be opened as an image. Check the file.";
	mask = getImageID();
	problem = "";
	n = 0;
	if (nSlices > 1) problem = "a stack (got " + nSlices + " planes, expected 1). Save the label image as a single plane.";
	else if (bitDepth() == 24) problem = "a colour image (expected numbers, one per cell). Save the label image, not a picture of it.";
	else {
		getStatistics(area, mean, lowest, highest);
		if (lowest < 0) problem = "has negative labels (got " + lowest + ", expected 0 and more). Save it again as a label image.";
		if (highest > 16777216) problem = "labels are too large (got " + highest + ", expected 16777216 at most: ImageJ keeps whole numbers up to there). Renumber them.";
	}
	if (problem == "") {
		// The box of each label, in one pass over the pixels; a look-up only where a run of equal pixels begins.
		setOption("ExpandableArrays", true);
		label = newArray(0); left = newArray(0); top = newArray(0); right = newArray(0); bottom = newArray(0);
		List.clear();
		w = getWidth();
		h = getHeight();
		k = 0;
		for (y = 0; y < h; y++) {
			last = 0;
			for (x = 0; x < w; x++) {
				v = getPixel(x, y);
				if (v != last) {
					if (last != 0) right[k] = maxOf(right[k], x);
					if (v != 0) {
						found = List.get("" + v);
						if (found == "") {
							if (v != floor(v)) problem = "labels are not whole numbers (got " + v + "). Save it again as a label image.";
							k = n;
							n++;
							List.set("" + v, k);
							label[k] = v;
							left[k] = x;
							top[k] = y;
							right[k] = x + 1;
						} else {
							k = parseInt(found);
							if (x < left[k]) left[k] = x;
						}
						bottom[k] = y + 1;
					}
					last = v;
				}
			}
			if (last != 0) right[k] = w;
			if (problem != "") y = h;
		}
	}
	if (problem == "" && n == 0) problem = "has no cells (expected at least one label). There is nothing to make a ROI set of.";
	if (problem != "") {
		selectImage(mask);
		close();
		return "Error: " + path + ": " + problem;
	}

	part = target + ".part";
	if (headless) removeFolder(part);
	makeFolders(File.getParent(target));
	if (headless) File.makeDirectory(part);
	order = Array.rankPositions(label);
	for (i = 0; i < n; i++) {
		k = order[i];
		selectImage(mask);
		makeRectangle(left[k], top[k], right[k] - left[k], bottom[k] - top[k]);
		run("Duplicate...", "title=cell");
		run("Select None");
		setThreshold(label[k], label[k]);
		run("Create Selection");
		Roi.move(left[k], top[k]);
		Roi.setName(IJ.pad(label[k], 5));
		if (headless) saveAs("Selection", part + File.separator + IJ.pad(label[k], 5) + ".roi");
		else roiManager("add");
		close();
	}
	selectImage(mask);
	close();
	if (headless) {
		saved = getFileList(part);
		made = saved.length;
	} else made = roiManager("count");
	if (made != n) return "Error: " + path + ": not every label became a ROI (got " + made + ", expected " + n + "). Nothing was kept.";
	if (!headless) {
		part = target + ".part.zip";
		roiManager("deselect");
		roiManager("save", part);
		roiManager("reset");
	}
	ok = File.rename(part, target);
	if (ok != 1 || !File.exists(target)) return "Error: " + target + ": could not be written. Check the folder and the disk.";
	return "" + n;
}

function targetOf(out, file) {
	name = substring(file, 0, lastIndexOf(file, "."));
	suffixes = newArray("_cp_masks", "_masks", "_mask");
	for (j = 0; j < suffixes.length; j++) {
		if (endsWith(name, suffixes[j])) {
			name = substring(name, 0, lengthOf(name) - lengthOf(suffixes[j]));
			j = suffixes.length;
		}
	}
	if (headless) return out + name + "_RoiSet";
	return out + name + "_RoiSet.zip";
}

// The label images below a folder, as paths relative to it.
function maskFiles(root, below) {
	found = newArray(0);
	names = getFileList(root + below);
	for (j = 0; j < names.length; j++) {
		if (endsWith(names[j], "/")) {
			inside = maskFiles(root, below + names[j]);
			found = Array.concat(found, inside);
		} else if (matches(names[j], ".*_(mask|masks|cp_masks)[.]tiff?")) found = Array.concat(found, below + names[j]);
	}
	return found;
}

function folder(path) {
	if (endsWith(path, "/") || endsWith(path, File.separator)) return path;
	return path + File.separator;
}

function makeFolders(path) {
	if (File.isDirectory(path)) return;
	makeFolders(File.getParent(path));
	File.makeDirectory(path);
}

function removeFolder(path) {
	if (!File.isDirectory(path)) return;
	names = getFileList(path);
	for (j = 0; j < names.length; j++) ok = File.delete(path + File.separator + names[j]);
	ok = File.delete(path);
}

// One value of the arguments: name=[value], or name=value where it has no space.
function option(name, otherwise) {
	begin = indexOf(" " + args, " " + name + "=");
	if (begin < 0) return otherwise;
	begin = begin + lengthOf(name) + 1;
	value = substring(args, begin);
	if (startsWith(value, "[")) return substring(value, 1, indexOf(value + "]", "]"));
	return substring(value, 0, indexOf(value + " ", " "));
}

// Says what is wrong: what the macro returns if it was given arguments, else a message, and the end of the macro.
function stop(text) {
	setBatchMode(false);
	if (returns) {
		print("Error: " + text);
		return "Error: " + text;
	}
	if (args != "") {
		// The macro whose run(...) this was ends as well.
		print("Error: " + text);
		call("ij.IJ.error", "Masks to ROI sets", text);
	} else showMessage("Masks to ROI sets", text);
	exit;
}
